//! What of a file a request asks for.

use crate::source::remote::client::Request;
use std::ops::Range;

/// What of a file is asked for.
#[derive(Debug, Clone, Default)]
pub(in crate::source::remote) struct Wanted {
    /// The whole file where there is none.
    pub(in crate::source::remote) range: Option<Range<u64>>,
    /// The strong entity tag that the file must have.
    pub(in crate::source::remote) tag: Option<String>,
}

impl Wanted {
    /// The value of the header `Range`.
    pub(in crate::source::remote) fn range(&self) -> Option<String> {
        self.range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
    }

    /// `request` with the headers of this.
    pub(in crate::source::remote) fn on(&self, mut request: Request) -> Request {
        if let Some(range) = self.range() {
            request = request.header("range", range);
        }
        if let Some(tag) = &self.tag {
            request = request.header("if-match", tag.as_str());
        }
        request
    }
}
