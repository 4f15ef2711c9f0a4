//! Which shard of an extraction a worker takes: as told, or by what Slurm or Kubernetes say.

use phlora::Shard;
use std::env;

/// A shard as the command line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardArg {
    /// One that is told.
    Told(Shard),
    /// The one that the scheduler's variables tell, of so many if they do not tell that.
    Scheduler(Option<usize>),
}

/// Parses `3/8`, `auto` or `auto/8`.
pub fn parse_shard(text: &str) -> Result<ShardArg, String> {
    match text.strip_prefix("auto") {
        None => text.parse().map(ShardArg::Told),
        Some("") => Ok(ShardArg::Scheduler(None)),
        Some(count) => {
            let count = count.strip_prefix('/').and_then(|count| count.parse().ok());
            let count = count.filter(|&count| Shard::new(1, count).is_some());
            count.map(|count| ShardArg::Scheduler(Some(count))).ok_or_else(|| format!("{text:?} is no shard"))
        }
    }
}

impl ShardArg {
    /// The shard.
    ///
    /// # Errors
    /// Where no scheduler says which, or of how many.
    pub fn find(self) -> Result<Shard, String> {
        match self {
            Self::Told(shard) => Ok(shard),
            Self::Scheduler(count) => scheduled(count, |name| env::var(name).ok()),
        }
    }
}

/// The shard by the variables of an array job of Slurm or an indexed job of Kubernetes.
fn scheduled(count: Option<usize>, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let number = |name: &str| -> Result<Option<usize>, String> {
        let Some(text) = variable(name) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| format!("{name} is {text:?}, expected a number"))
    };
    let (index, known, what) = if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
        let least = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
        let index = id.checked_sub(least).map(|index| index + 1);
        (index, number("SLURM_ARRAY_TASK_COUNT")?, "SLURM_ARRAY_TASK_ID")
    } else if let Some(index) = number("JOB_COMPLETION_INDEX")? {
        (index.checked_add(1), None, "JOB_COMPLETION_INDEX")
    } else {
        let problem = "no scheduler says which shard: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set; name \
                       it, as in --shard 3/8";
        return Err(problem.into());
    };
    let Some(count) = count.or(known) else {
        return Err(format!(
            "{what} says which shard, but nothing of how many: name it, as in --shard auto/8"
        ));
    };
    let shard = index.and_then(|index| Shard::new(index, count));
    shard.ok_or_else(|| format!("{what} is beyond {count} shards; the ids of an array job must have no gaps"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(count: Option<usize>, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        scheduled(count, variable).map(|shard| shard.to_string())
    }

    #[test]
    fn schedulers_tell_the_share() {
        let slurm =
            [("SLURM_ARRAY_TASK_ID", "12"), ("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_COUNT", "8")];
        assert_eq!(found(None, &slurm).unwrap(), "3/8");
        assert_eq!(found(Some(8), &[("JOB_COMPLETION_INDEX", "0")]).unwrap(), "1/8");
        assert!(found(None, &[("JOB_COMPLETION_INDEX", "0")]).unwrap_err().contains("auto/8"));
        assert!(found(Some(8), &[("JOB_COMPLETION_INDEX", "8")]).is_err());
        assert!(found(None, &[("SLURM_ARRAY_TASK_ID", "x")]).unwrap_err().contains("expected a number"));
        assert!(found(Some(8), &[]).unwrap_err().contains("no scheduler"));
    }

    #[test]
    fn texts_are_shares_or_refused() {
        assert_eq!(parse_shard("auto/8"), Ok(ShardArg::Scheduler(Some(8))));
        assert_eq!(parse_shard("auto"), Ok(ShardArg::Scheduler(None)));
        for text in ["auto/0", "auto8", "4/3", ""] {
            assert!(parse_shard(text).is_err(), "{text}");
        }
    }
}
