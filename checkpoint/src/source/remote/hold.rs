//! Bytes of files at addresses that are needed together, for as long as they are.

use super::image::Image;
use super::space::Room;
use std::ops::Range;
use std::sync::Arc;

/// Holds bytes from when they are here until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    ranges: Vec<(Arc<Image>, Range<u64>)>,
    room: Room,
}

impl Hold {
    /// Asks for all of `ranges` when there is room for them. Whoever calls this must hold nothing but `beside`, or what it or
    /// others give back without asking for more.
    ///
    /// # Errors
    /// Where there is never room for all of them.
    pub(crate) fn ask(
        ranges: Vec<(Arc<Image>, Range<usize>)>,
        beside: Option<&Self>,
    ) -> Result<Self, String> {
        let ranges: Vec<_> = ranges
            .into_iter()
            .filter(|(_, range)| !range.is_empty())
            .map(|(image, range)| (image, range.start as u64..range.end as u64))
            .collect();
        let bytes = ranges.iter().map(|(_, range)| range.end - range.start).sum();
        let room = Room::wait(bytes, beside.map_or(0, |beside| beside.room.bytes()))?;
        for (image, range) in &ranges {
            image.hold(range.clone());
        }
        Ok(Self { ranges, room })
    }

    /// Waits until all are here.
    ///
    /// # Errors
    /// Why one cannot be had, with its number among those asked for.
    pub(crate) fn wait(&self) -> Result<(), (usize, String)> {
        let mut ranges = self.ranges.iter().enumerate();
        ranges.try_for_each(|(number, (image, range))| image.wait(range).map_err(|why| (number, why)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for (image, range) in &self.ranges {
            image.release(range.clone());
        }
    }
}
