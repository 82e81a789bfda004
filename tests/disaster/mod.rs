//! The relay host is lost, moved or replaced: `backup`, `restore`, and the runbooks in docs/disaster, whose commands are run here.

mod backup;
mod runbook;
mod runbooks;
