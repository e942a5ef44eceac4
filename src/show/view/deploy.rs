//! The canary: where its traffic is, by the record and by the switch; its steps, how long it has baked, and each metric
//! beside that of the stable track.

use ratatui::layout::Rect;

use super::paint::{Paint, role};
use crate::base::text::{fit, width, wrap};
use crate::base::units::{Unit, short, watch};
use crate::judge::{Classification, MetricVerdict, Verdict};
use crate::plan::deploy::{DeployState, Promotion, TurnState};
use crate::plan::runbook::{CanarySettings, MetricPair, percent};
use crate::show::cockpit::State;
use crate::show::theme::Role;

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    let Some(deploy) = &state.summary().deploy else {
        paint.wrapped(area, 0, "There is no switch of the traffic: add [traffic] to the configuration.", Role::Dim);
        return;
    };
    let mut y = traffic(state, paint, area, deploy);
    let Some(settings) = &state.config.acting.settings.canary else {
        paint.wrapped(area, y, "How a canary is walked up and judged is not said: add [canary] to the configuration.", Role::Dim);
        return;
    };
    y += steps(state, paint, area, y, deploy, settings);
    // What speaks against the next step has to be read, however low the screen.
    let against = against(deploy, settings, state, usize::from(area.width));
    let room = area.height.saturating_sub(y + (against.len() as u16).min(area.height / 3) + 1);
    y += metrics(state, paint, Rect { y: area.y + y, height: room, ..area }, deploy, settings) + 1;
    for (line, role) in against {
        if y >= area.height {
            break;
        }
        paint.text(area, 0, y, &line, role);
        y += 1;
    }
}

fn traffic(state: &State, paint: &mut Paint, area: Rect, deploy: &DeployState) -> u16 {
    let now = state.shown_at();
    let mut x = paint.text(area, 0, 0, "observed ", Role::Dim);
    let (seen, seen_role) = match deploy.observed.as_ref().map(|seen| (seen, seen.weight())) {
        Some((seen, Ok(_))) => (format!("{}  {}", seen.words(), short(now.since(seen.at))), Role::Title),
        Some((_, Err(why))) => (format!("{} {why}", paint.symbol(Verdict::Unknown)), Role::Unknown),
        None => ("not looked at yet".into(), Role::Dim),
    };
    x += paint.text(area, x, 0, &seen, seen_role) + 3;
    let desired = match &deploy.desired {
        Some(turn) => {
            let to = turn.to.map_or_else(|| "what it was before".into(), |to| format!("{to} %"));
            let how = match turn.state {
                TurnState::Asked => " (asked for)",
                TurnState::Done => "",
                TurnState::Failed => " (failed)",
            };
            format!("{to}{how} by {} {} ago", turn.by.user, short(now.since(turn.at)))
        }
        None => "no run has set it".into(),
    };
    if x + 10 < area.width {
        x += paint.text(area, x, 0, "desired ", Role::Dim);
        paint.text(area, x, 0, &fit(&desired, usize::from(area.width.saturating_sub(x))), Role::Text);
    }
    // What is wrong with it stands where the header leads.
    let failed = deploy.failed.iter().map(|words| (words.clone(), Role::Fail));
    let all: Vec<_> = failed.chain(deploy.difference().map(|words| (words, Role::Warn))).collect();
    let mut used = 1;
    for (words, role) in &all {
        used += paint.wrapped(Rect { height: 2.min(area.height.saturating_sub(used)), y: area.y + used, ..area }, 0, words, *role);
    }
    used
}

/// `0 ✓ ── 10 ▶ ── 25 ── 50 ── 100   bake 3:20 of 5:00  next 25 %`
fn steps(state: &State, paint: &mut Paint, area: Rect, y: u16, deploy: &DeployState, settings: &CanarySettings) -> u16 {
    let weight = deploy.weight().ok();
    let (line, here, done) = if paint.unicode() { ("──", "▶", "✓") } else { ("--", ">", "ok") };
    let mut x = 0;
    for (i, step) in settings.steps.iter().enumerate() {
        if i > 0 {
            x += paint.text(area, x, y, line, Role::Border) + 1;
        }
        let at = weight.map(|weight| f64::from(*step) - weight);
        let (mark, role) = match at {
            Some(off) if off.abs() < 0.5 => (here, Role::Accent),
            Some(off) if off < 0.0 => (done, Role::Dim),
            _ => ("", Role::Dim),
        };
        x += paint.text(area, x, y, format!("{step} {mark}").trim_end(), role) + 1;
    }
    let promotion = deploy.promotion(settings, state.shown_at());
    let next = match &promotion {
        Promotion::To(next) if deploy.judged_from_now_on => format!("next {next} %, once judged"),
        Promotion::To(next) => format!("next {next} %"),
        Promotion::AtTheEnd => "at the end".into(),
        Promotion::Refused(_) => settings.after(weight.unwrap_or(0.0)).map_or_else(String::new, |next| format!("not yet {next} %")),
    };
    let bake = deploy.bake(settings, state.shown_at()).map(|(had, of)| format!("bake {} of {}", watch(had.min(of)), watch(of)));
    let words = bake.into_iter().chain(std::iter::once(next)).collect::<Vec<_>>().join("   ");
    let goes_on = matches!(promotion, Promotion::To(_));
    let own_row = x + width(&words) as u16 + 3 > area.width;
    let (x, at) = if own_row { (0, y + 1) } else { (x + 2, y) };
    paint.text(area, x, at, &words, if goes_on { Role::Pass } else { Role::Text });
    if own_row { 2 } else { 1 }
}

/// The metrics, the worst first; what does not fit is counted.
fn metrics(state: &State, paint: &mut Paint, area: Rect, deploy: &DeployState, settings: &CanarySettings) -> u16 {
    let Some(analysis) = &deploy.analysis else {
        paint.text(area, 0, 0, "Nothing to judge: there is no traffic on the canary.", Role::Dim);
        return 1;
    };
    if area.height == 0 {
        return 0;
    }
    let mut rows: Vec<(&MetricVerdict, &MetricPair)> = analysis.metrics.iter().zip(&settings.analysis.metrics).collect();
    let rank = |verdict: &MetricVerdict| match verdict.classification {
        Classification::High | Classification::Low if verdict.critical => 0,
        Classification::High | Classification::Low => 1,
        Classification::NoData => 2,
        Classification::Pass => 3,
    };
    rows.sort_by_key(|(verdict, _)| rank(verdict));
    let wide = area.width >= 90;
    let names = rows.iter().map(|(verdict, _)| width(&verdict.name)).max().unwrap_or(0).clamp(9, 22) as u16;
    let columns = columns(names, wide);
    heading(paint, area, &columns, wide);
    let fits = usize::from(area.height.saturating_sub(1));
    let more = rows.len().saturating_sub(fits);
    let count = if more > 0 { fits.saturating_sub(1) } else { rows.len() };
    for (i, (verdict, pair)) in rows.iter().take(count).enumerate() {
        metric(state, paint, area, i as u16 + 1, verdict, pair, &columns, wide);
    }
    if more > 0 {
        paint.text(area, 0, count as u16 + 1, &format!("+{} more", rows.len() - count), Role::Dim);
    }
    1 + (count + usize::from(more > 0)) as u16
}

/// Where the columns begin: stable, canary, shift, interval, points, verdict.
fn columns(names: u16, wide: bool) -> [u16; 6] {
    let at = names + 2;
    if wide { [at, at + 11, at + 22, at + 33, at + 55, at + 65] } else { [at, at + 11, 0, 0, at + 22, at + 30] }
}

fn heading(paint: &mut Paint, area: Rect, columns: &[u16; 6], wide: bool) {
    let titles = ["stable", "canary", "shift", "interval", "points", "verdict"];
    paint.text(area, 0, 0, "median of", Role::Dim);
    for (x, title) in columns.iter().zip(titles) {
        if wide || !["shift", "interval"].contains(&title) {
            paint.text(area, *x, 0, title, Role::Dim);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "a row of a table: what it is of, and where it stands")]
fn metric(
    state: &State,
    paint: &mut Paint,
    area: Rect,
    y: u16,
    verdict: &MetricVerdict,
    pair: &MetricPair,
    columns: &[u16; 6],
    wide: bool,
) {
    let unit = state.config.signal(&pair.canary).map_or(Unit::None, |signal| signal.unit);
    // Of the same points that the verdict is of: the newest value may say something else.
    let value = |median: Option<f64>| median.map_or_else(|| "—".into(), |value| unit.format(value));
    paint.text(area, 0, y, &fit(&verdict.name, usize::from(columns[0].saturating_sub(1))), Role::Text);
    paint.text(area, columns[0], y, &fit(&value(verdict.medians.baseline), 10), Role::Text);
    paint.text(area, columns[1], y, &fit(&value(verdict.medians.canary), 10), Role::Text);
    if wide {
        let signed = |x: f64| format!("{}{}", if x > 0.0 { "+" } else { "" }, unit.format(x));
        if let Some(estimate) = verdict.estimate {
            paint.text(area, columns[2], y, &fit(&signed(estimate), 10), Role::Text);
        }
        if let (Some(lower), Some(upper)) = (verdict.lower, verdict.upper) {
            paint.text(area, columns[3], y, &fit(&format!("{} … {}", signed(lower), signed(upper)), 21), Role::Dim);
        }
    }
    paint.text(area, columns[4], y, &format!("{}/{}", verdict.points.canary, verdict.points.baseline), Role::Dim);
    let (judged, word) = match verdict.classification {
        Classification::Pass => (Verdict::Pass, "pass"),
        Classification::High => (Verdict::Fail, "high"),
        Classification::Low => (Verdict::Fail, "low"),
        Classification::NoData => (Verdict::Unknown, "no data"),
    };
    let critical = if verdict.critical { " (critical)" } else { "" };
    paint.text(area, columns[5], y, &format!("{} {word}{critical}", paint.symbol(judged)), role(judged));
}

fn against(deploy: &DeployState, settings: &CanarySettings, state: &State, cells: usize) -> Vec<(String, Role)> {
    let mut lines = Vec::new();
    let mut say = |text: &str, role: Role| lines.extend(wrap(text, cells).into_iter().map(|line| (line, role)));
    if let Some(analysis) = &deploy.analysis {
        say(&format!("{}  {}", analysis.verdict.word().to_uppercase(), analysis.reason), role(analysis.verdict));
    }
    if let Promotion::Refused(all) = deploy.promotion(settings, state.shown_at()) {
        let weight = deploy.weight().map_or_else(|_| "where it is".into(), percent);
        say(&format!("stays at {weight}: {}", all.join("; ")), Role::Warn);
    }
    lines
}
