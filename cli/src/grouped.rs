//! Findings of one kind in one line: an adapter of another base has the same fault in every module.

use phlora::Finding;

/// More findings of a kind than this are one line.
const SEVERAL: usize = 3;

/// `findings`, of which the first of many of a kind stands for all.
pub fn grouped(findings: &[Finding]) -> Vec<Finding> {
    let alike = |a: &Finding, b: &Finding| a.code == b.code && a.severity == b.severity;
    let mut lines = Vec::<Finding>::new();
    for finding in findings {
        let count = findings.iter().filter(|other| alike(other, finding)).count();
        if count <= SEVERAL {
            lines.push(finding.clone());
        } else if !lines.iter().any(|line| alike(line, finding)) {
            let mut first = finding.clone();
            first.message =
                format!("{}; the same with {} others, --json lists them", first.message, count - 1);
            lines.push(first);
        }
    }
    lines
}
