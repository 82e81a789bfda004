//! `/`: is all well, the pipeline as a picture, the charts of the last day, the sources.
//!
//! `facts` reads and keeps what was read for a few seconds; all else here is pure. A new chart needs `charts` and the template.

pub(crate) mod charts;
mod day_counts;
mod facts;
mod pipeline;
mod source_table;
mod verdict;

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use logferry_inspection::status::StatusReport;

use self::charts::{
    ChartView, DiskView, HourRow, bytes_a_day, delay_chart, disk_chart, disk_view, errors_chart, hour_rows,
    lines_chart,
};
use self::facts::OverviewFacts;
pub(crate) use self::facts::{OverviewCache, READ_EVERY};
use self::pipeline::PipelinePicture;
use self::source_table::{SourceChoice, SourceTable};
use self::verdict::Verdict;
use super::parts::frame::{Frame, Tab};
use super::parts::times;
use super::{PagesState, html};
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

/// The page fetches its parts anew so often.
const REFRESH_SECONDS: u32 = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    verdict: Verdict,
    pipeline: PipelinePicture,
    charts: Vec<ChartView>,
    hours: Vec<HourRow>,
    disk: DiskView,
    /// Whether the disk has a chart.
    has_disk_chart: bool,
    /// Why there are no numbers; empty if there are.
    no_numbers: String,
    table: SourceTable,
    choice: SourceChoice,
    /// When all this was read, as an element.
    looked: String,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Extension(pages): Extension<Arc<PagesState>>,
    Reader(principal): Reader,
    Query(choice): Query<SourceChoice>,
) -> Result<Response, Problem> {
    let facts = pages.overview.read(&state).await?;
    let status = state.present_status().await?;
    let frame = Frame::of(&state, &principal, Tab::Overview).await;
    let min_free = state.settings.shared.host.min_free_disk;
    let page = OverviewPage::new(
        frame.refreshed_every(REFRESH_SECONDS),
        (&status, Timestamp::now()),
        &facts,
        choice,
        min_free,
    );
    html(&page)
}

impl OverviewPage {
    fn new(
        frame: Frame,
        (status, now): (&StatusReport, Timestamp),
        facts: &OverviewFacts,
        choice: SourceChoice,
        min_free: u64,
    ) -> Self {
        let read_at = facts.read_at;
        let counts = facts.counts.as_ref().ok();
        let mut charts = Vec::new();
        if let Some(counts) = counts {
            charts.extend([lines_chart(counts, read_at), errors_chart(counts, read_at)]);
        }
        charts.push(delay_chart(&facts.batches, read_at));
        let disk = disk_view(&status.disk, min_free, bytes_a_day(&facts.batches, read_at));
        let of_disk = disk_chart(&disk, &facts.disk, min_free, read_at);
        let has_disk_chart = of_disk.is_some();
        charts.extend(of_disk);
        Self {
            verdict: Verdict::new(status, now),
            pipeline: PipelinePicture::new(status, now),
            charts,
            hours: hour_rows(counts, facts, read_at),
            disk,
            has_disk_chart,
            no_numbers: facts.counts.as_ref().err().cloned().unwrap_or_default(),
            table: SourceTable::new(&status.sources, counts, &choice, now),
            choice,
            frame,
            looked: times::ago(now, now),
        }
    }
}
