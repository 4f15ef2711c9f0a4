use super::*;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(factor: &Factor<'_>) -> Vec<f32> {
    let bytes = factor.encoded().unwrap();
    assert_eq!(Some(bytes.len()), factor.encoded_len());
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn changes_come_in_the_order_they_were_asked_for() {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut factor = Factor::new(Dtype::F32, [2, 3], bytes(&values)).unwrap();
    assert_eq!(floats(&factor), values);
    factor.transpose();
    assert_eq!(floats(&factor), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    factor.resize([4, 3]);
    factor.scale(2.0);
    assert_eq!(floats(&factor), [2.0, 8.0, 0.0, 4.0, 10.0, 0.0, 6.0, 12.0, 0.0, 0.0, 0.0, 0.0]);
    factor.permute_rows(RowPermutation::to_gguf(4, 1).unwrap());
    assert_eq!(factor.decoded().unwrap()[3..6], [6.0, 12.0, 0.0]);
    factor.resize([1, 1]);
    assert_eq!((floats(&factor), factor.shape()), (vec![2.0], [1, 1]));
}

#[test]
fn refuses_what_is_no_number_or_does_not_fit() {
    let factor = Factor::new(Dtype::F32, [1, 2], bytes(&[1.0, f32::NAN])).unwrap();
    assert!(factor.decoded().unwrap_err().to_string().contains("row 0, column 1"));
    let mut factor = Factor::new(Dtype::F32, [2, 1], bytes(&[1.0, 7e4])).unwrap();
    factor.set_dtype(Dtype::F16);
    assert!(factor.encoded().unwrap_err().to_string().contains("row 1, column 0"));
    factor.scale(0.5);
    assert!(factor.encoded().is_ok());
    assert!(Factor::new(Dtype::F32, [2, 2], bytes(&[1.0])).is_err());
    assert!(Factor::new(Dtype::F32, [usize::MAX, 2], bytes(&[1.0])).is_err());
    assert!(Factor::new(Dtype::F32, [0, usize::MAX], bytes(&[])).is_err());
}
