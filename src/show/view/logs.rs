//! The log: tui-logger's lines, filtered by level and target, with what is searched for marked.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tui_logger::{ExtLogRecord, LogFormatter, TuiLoggerWidget, TuiWidgetEvent, TuiWidgetState};

use super::paint::Paint;
use crate::show::cockpit::{LogView, State};
use crate::show::theme::{Role, Theme};
use crate::status::LOG_TARGETS;

struct Words {
    search: String,
    theme: Theme,
}

impl Words {
    fn plain(&self, text: &str) -> String {
        super::paint::plain(text, self.theme.glyphs)
    }
}

impl LogFormatter for Words {
    fn min_width(&self) -> u16 {
        10
    }

    fn format(&self, width: usize, record: &ExtLogRecord) -> Vec<Line<'_>> {
        let role = match record.level {
            log::Level::Error => Role::Fail,
            log::Level::Warn => Role::Warn,
            log::Level::Info => Role::Text,
            log::Level::Debug | log::Level::Trace => Role::Dim,
        };
        let time = record.timestamp.strftime("%H:%M:%S").to_string();
        let text = format!("{time} {:<5} {:<8} {}", record.level, record.target(), record.msg());
        let text = self.plain(&crate::base::text::fit(&text, width));
        let style = self.theme.style(role);
        let found = (!self.search.is_empty()).then(|| text.to_lowercase().find(&self.search.to_lowercase())).flatten();
        match found.filter(|at| text.is_char_boundary(*at) && text.is_char_boundary(at + self.search.len())) {
            Some(at) => {
                let end = at + self.search.len();
                vec![Line::from(vec![
                    Span::styled(text[..at].to_string(), style),
                    Span::styled(text[at..end].to_string(), self.theme.style(Role::Match)),
                    Span::styled(text[end..].to_string(), style),
                ])]
            }
            None if self.search.is_empty() => vec![Line::styled(text, style)],
            None => vec![Line::styled(text, self.theme.style(Role::Dim))],
        }
    }
}

/// The logger's own view state for what the operator chose.
fn widget_state(view: &LogView) -> TuiWidgetState {
    let default = if view.target.is_some() { log::LevelFilter::Off } else { view.level };
    let mut state = TuiWidgetState::new().set_default_display_level(default);
    for target in LOG_TARGETS {
        let level = if view.target.as_deref().is_none_or(|t| t == target) { view.level } else { log::LevelFilter::Off };
        state = state.set_level_for_target(target, level);
    }
    state
}

pub fn draw(state: &State, paint: &mut Paint, area: Rect) {
    let view = &state.logs;
    let mut words = format!("level {}", view.level.as_str().to_lowercase());
    words += &view.target.as_ref().map_or_else(|| "  all targets".into(), |t| format!("  target {t}"));
    if !view.search.is_empty() {
        words += &format!("  /{}", view.search);
    }
    if view.back > 0 {
        words += &format!("  {} pages back", view.back);
    }
    paint.text(area, 0, 0, &words, Role::Dim);
    let area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }.intersection(paint.buffer.area);
    if area.height < 2 || area.width < 10 {
        return;
    }
    tui_logger::move_events();
    let widget_state = widget_state(view);
    let formatter = || Box::new(Words { search: view.search.clone(), theme: paint.theme.clone() });
    // The logger pages relative to what it drew last: one drawing a page.
    let mut scratch = ratatui::buffer::Buffer::empty(area);
    for page in 0..=view.back {
        if page > 0 {
            widget_state.transition(TuiWidgetEvent::PrevPageKey);
        }
        scratch.reset();
        TuiLoggerWidget::default().formatter(formatter()).state(&widget_state).render(area, &mut scratch);
    }
    paint.buffer.merge(&scratch);
}
