//! What a frame, a delivery and a page cost: 500 signals, and a page of 100,000 lines.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lastgreen::base::clock::Stamp;
use lastgreen::config::{Config, load_text};
use lastgreen::observe::engine::{Engine, Format, Limits, parse};
use lastgreen::observe::reading::{Delivery, Reading, Tail, Value};
use lastgreen::show::cockpit::{Message, State, update};
use lastgreen::show::theme::{self, Depth, Glyphs};
use lastgreen::show::{keymap, view};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const SIGNALS: usize = 500;

fn config() -> Arc<Config> {
    let mut text = String::from("[environment]\nname = \"bench\"\n[sources.p]\nkind = \"prometheus\"\nurl = \"http://localhost:9\"\n");
    for i in 0..SIGNALS {
        text += &format!("[signals.s{i}]\nsource = \"p\"\nquery = \"sum(m{i})\"\nwarn = \"> 90\"\nfail = \"> 95\"\n");
    }
    text += "[[boards]]\nname = \"All\"\ncolumns = 5\n";
    for i in 0..SIGNALS {
        text += &format!("[[boards.panels]]\ntitle = \"p{i}\"\nkind = \"series\"\nsignals = [\"s{i}\"]\n");
    }
    Arc::new(load_text(Path::new("bench.toml"), &text).config.expect("a configuration"))
}

fn delivery(config: &Config, now: Stamp, whole: bool) -> Delivery {
    let mut delivery = Delivery::default();
    for name in config.signals.keys() {
        delivery.readings.insert(name.clone(), Reading::good(now, "p", Value::Number(50.0)));
        let from = if whole { 180 } else { 1 };
        let points = (0..from).map(|i| (Stamp(now.0 - (from - 1 - i) * 5_000), 40.0 + (i % 20) as f64)).collect();
        let tail = Tail { window: Duration::from_secs(900), step: Duration::from_secs(5), whole, lines: vec![("".into(), points)] };
        delivery.tails.insert(name.clone(), tail);
    }
    delivery
}

fn frames(c: &mut Criterion) {
    let config = config();
    let keymap = Arc::new(keymap::load("default", Path::new(".")).expect("a keymap"));
    let theme = theme::load("dark", Path::new(".")).expect("a theme").shown_on(Depth::Indexed, Glyphs::Unicode);
    let now = Stamp(1_795_186_800_000);
    let mut state = State::new(config.clone(), keymap, now);
    let mut size = (200, 60);
    update(&mut state, Message::Delivered(Box::new(delivery(&config, now, true)), now), &mut size);
    let area = Rect::new(0, 0, 200, 60);
    let mut buffer = Buffer::empty(area);
    c.bench_function("frame of 500 signals at 200x60", |b| {
        b.iter(|| {
            buffer.reset();
            black_box(view::draw(&state, &theme, area, &mut buffer))
        });
    });
    let mut later = now;
    c.bench_function("delivery of 500 signals", |b| {
        b.iter_batched(
            || {
                later = later.plus(Duration::from_secs(5));
                (Box::new(delivery(&config, later, false)), later)
            },
            |(news, at)| update(&mut state, Message::Delivered(news, at), &mut size),
            BatchSize::SmallInput,
        );
    });
}

fn pages(c: &mut Criterion) {
    let page: String = (0..100_000).map(|i| format!("http_requests_total{{path=\"/api/{{id}}\",n=\"{i}\"}} {i}\n")).collect();
    let mut group = c.benchmark_group("page");
    group.sample_size(10);
    group.bench_function("parse 100,000 lines", |b| b.iter(|| black_box(parse(&page, Format::Text).samples.len())));
    let samples = parse(&page, Format::Text).samples;
    group.bench_function("store 100,000 lines", |b| {
        b.iter_batched(
            || Engine::new(Limits::default()).expect("an engine"),
            |engine| engine.ingest("t", &[], &samples, Stamp(1_000)).expect("stored"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, frames, pages);
criterion_main!(benches);
