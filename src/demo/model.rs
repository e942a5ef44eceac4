//! The stand-in service as numbers: requests come, pass through their stages on one of two tracks, take time, fail or not,
//! and are scored. Everything follows from the traffic's share, the releases, the data's state and the scenario's effect.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::metrics::Metrics;
use super::scenario::Effect;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseTrack {
    Stable,
    Canary,
}

impl ReleaseTrack {
    pub fn name(self) -> &'static str {
        match self {
            ReleaseTrack::Stable => "stable",
            ReleaseTrack::Canary => "canary",
        }
    }
}

pub struct Model {
    random: StdRng,
    metrics: Metrics,
    /// The canary's share of the traffic, 0 to 1.
    pub canary: f64,
    pub stable_version: String,
    pub canary_version: String,
    /// The share of the data that is damaged.
    pub data_damaged: f64,
    seconds: f64,
    /// Since when the bad release has had no traffic.
    idle_since: Option<f64>,
    /// Requests owed from fractions of earlier steps.
    owed: f64,
}

/// The release that is bad in the story of the bad canary, and the one that mends it.
pub const BAD_RELEASE: &str = "v1.5.0";
pub const MENDED_RELEASE: &str = "v1.5.1";
/// How long the canary is out of the traffic before the mended release stands there.
const MENDING: f64 = 15.0;

const REQUESTS_A_SECOND: f64 = 40.0;
const SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 30.0];
const SCORES: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

impl Model {
    pub fn new(seed: u64) -> Model {
        let mut model = Model {
            random: StdRng::seed_from_u64(seed),
            metrics: Metrics::default(),
            canary: 0.1,
            stable_version: "v1.4.2".into(),
            canary_version: BAD_RELEASE.into(),
            data_damaged: 0.0,
            seconds: 0.0,
            idle_since: None,
            owed: 0.0,
        };
        model.begin();
        model
    }

    /// Series that must be there before anything has happened to them.
    fn begin(&mut self) {
        let m = &mut self.metrics;
        for track in ["stable", "canary"] {
            for code in ["200", "500", "503"] {
                m.count("rag_http_requests_total", &format!("code=\"{code}\",track=\"{track}\""), 0.0);
            }
            for result in ["pass", "fail"] {
                m.count("rag_gate_checks_total", &format!("result=\"{result}\",track=\"{track}\""), 0.0);
            }
        }
        for result in ["ok", "error"] {
            m.count("rag_provider_requests_total", &format!("result=\"{result}\""), 0.0);
        }
        for reason in ["gate_fail_rate", "faithfulness_drop", "latency_spike"] {
            m.count("rag_rollback_total", &format!("reason=\"{reason}\""), 0.0);
        }
        m.set("rag_governance_sources", "", 24.0);
        m.set("rag_governance_sources_unowned", "", 0.0);
        m.set("rag_governance_reviews_overdue", "", 0.0);
    }

    pub fn page(&self) -> String {
        self.metrics.page()
    }

    /// Lets a piece of time pass.
    pub fn step(&mut self, time: Duration, effect: &Effect) {
        let seconds = time.as_secs_f64();
        self.seconds += seconds;
        self.mend();
        // A calm wave over some minutes, and some noise.
        let wave = 1.0 + 0.15 * (self.seconds / 240.0 * std::f64::consts::TAU).sin() + 0.05 * self.normal();
        self.owed += REQUESTS_A_SECOND * wave.max(0.1) * seconds;
        let requests = self.owed.floor();
        self.owed -= requests;
        for _ in 0..requests as u64 {
            self.request(effect);
        }
        let (stable, canary) = (self.stable_version.clone(), self.canary_version.clone());
        self.metrics.set("rag_canary_traffic_ratio", "", self.canary);
        self.metrics.set("rag_build_info", &format!("track=\"stable\",version=\"{stable}\""), 1.0);
        self.metrics.set("rag_build_info", &format!("track=\"canary\",version=\"{canary}\""), 1.0);
    }

    /// A bad release that was taken out of the traffic is replaced by one that is good.
    fn mend(&mut self) {
        if self.canary > 0.0 || self.canary_version != BAD_RELEASE {
            self.idle_since = None;
            return;
        }
        let since = *self.idle_since.get_or_insert(self.seconds);
        if self.seconds - since >= MENDING {
            self.canary_version = MENDED_RELEASE.into();
        }
    }

    fn request(&mut self, effect: &Effect) {
        let track = if self.random.random::<f64>() < self.canary { ReleaseTrack::Canary } else { ReleaseTrack::Stable };
        let bad_release = match track {
            ReleaseTrack::Canary => self.canary_version == BAD_RELEASE,
            ReleaseTrack::Stable => self.stable_version == BAD_RELEASE,
        };
        let fault = if bad_release { effect.canary_fault } else { 0.0 };
        let name = track.name();
        let provider_failed = self.chance(effect.provider_failing);
        let failed = self.chance(0.003 + 0.3 * fault) || provider_failed && self.chance(0.6);
        let damaged = self.chance(self.data_damaged);
        self.stages(name, fault, effect.retrieval_slower, provider_failed);
        let scores = self.scores(damaged);
        let code = match (failed, provider_failed) {
            (false, _) => "200",
            (true, true) => "503",
            (true, false) => "500",
        };
        self.metrics.count("rag_http_requests_total", &format!("code=\"{code}\",track=\"{name}\""), 1.0);
        self.metrics.count("rag_provider_requests_total", if provider_failed { "result=\"error\"" } else { "result=\"ok\"" }, 1.0);
        let faithfulness = self.quality(0.92, 0.05) - 0.33 * fault - 0.45 * f64::from(u8::from(damaged));
        let gate_failed = failed || faithfulness < 0.72 || scores < 0.35;
        let result = if gate_failed && (fault > 0.0 || damaged || failed) { "fail" } else { "pass" };
        let result = if self.chance(0.008) { "fail" } else { result };
        self.metrics.count("rag_gate_checks_total", &format!("result=\"{result}\",track=\"{name}\""), 1.0);
        if self.chance(0.3) {
            let damage = f64::from(u8::from(damaged));
            let relevancy = self.quality(0.86, 0.06) - 0.2 * fault - 0.25 * damage;
            let recall = self.quality(0.81, 0.07) - 0.1 * fault - 0.4 * damage;
            for (metric, value) in [("faithfulness", faithfulness), ("answer_relevancy", relevancy), ("context_recall", recall)] {
                self.metrics.observe("rag_ragas_score", &format!("metric=\"{metric}\""), SCORES, value.clamp(0.0, 1.0));
            }
        }
    }

    /// The time each stage takes, measured by component, by origin and as a whole.
    fn stages(&mut self, track: &str, fault: f64, retrieval_slower: f64, provider_failed: bool) {
        let embed = self.time(0.035, 0.3);
        let retrieve = self.time(0.07, 0.4) * (1.0 + retrieval_slower);
        let rerank = self.time(0.05, 0.3) * (1.0 + 2.0 * fault);
        let generate = if provider_failed { self.time(6.0, 0.3) } else { self.time(0.55, 0.45) * (1.0 + 0.6 * fault) };
        let render = self.time(0.012, 0.3);
        let parts = [("embed", embed), ("retrieve", retrieve), ("rerank", rerank), ("generate", generate), ("render", render)];
        for (component, seconds) in parts {
            self.metrics.observe("rag_component_duration_seconds", &format!("component=\"{component}\""), SECONDS, seconds);
        }
        let internal = embed + retrieve + rerank + render;
        self.metrics.observe("rag_stage_duration_seconds", "origin=\"internal\"", SECONDS, internal);
        self.metrics.observe("rag_stage_duration_seconds", "origin=\"provider\"", SECONDS, generate);
        self.metrics.observe("rag_request_duration_seconds", &format!("track=\"{track}\""), SECONDS, internal + generate);
    }

    /// Scores of the passages found; returns the best.
    fn scores(&mut self, damaged: bool) -> f64 {
        let centre = if damaged { 0.28 } else { 0.72 };
        let mut best: f64 = 0.0;
        for _ in 0..3 {
            let score = self.quality(centre, 0.11).clamp(0.0, 1.0);
            best = best.max(score);
            self.metrics.observe("rag_retrieval_score", "", SCORES, score);
        }
        best
    }

    fn chance(&mut self, share: f64) -> bool {
        self.random.random::<f64>() < share
    }

    /// Normally distributed around zero.
    fn normal(&mut self) -> f64 {
        let (a, b) = (self.random.random::<f64>().max(1e-12), self.random.random::<f64>());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    fn quality(&mut self, centre: f64, spread: f64) -> f64 {
        centre + spread * self.normal()
    }

    /// A time with a long tail around its median.
    fn time(&mut self, median: f64, spread: f64) -> f64 {
        median * (spread * self.normal()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(page: &str, series: &str) -> f64 {
        page.lines().find_map(|l| l.strip_prefix(series)?.trim().parse().ok()).unwrap_or_else(|| panic!("{series} in\n{page}"))
    }

    fn gate_share(effect: &Effect, change: impl Fn(&mut Model)) -> f64 {
        let mut model = Model::new(1);
        change(&mut model);
        model.step(Duration::from_secs(100), effect);
        let page = model.page();
        let (mut failed, mut all) = (0.0, 0.0);
        for track in ["stable", "canary"] {
            let fail = value(&page, &format!("rag_gate_checks_total{{result=\"fail\",track=\"{track}\"}}"));
            failed += fail;
            all += fail + value(&page, &format!("rag_gate_checks_total{{result=\"pass\",track=\"{track}\"}}"));
        }
        failed / all
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let page = |seed| {
            let mut model = Model::new(seed);
            model.step(Duration::from_secs(30), &Effect::default());
            model.page()
        };
        assert_eq!(page(7), page(7));
        assert_ne!(page(7), page(8));
    }

    #[test]
    fn quality_follows_traffic_release_and_data() {
        let bad = Effect { canary_fault: 1.0, ..Effect::default() };
        assert!(gate_share(&Effect::default(), |_| {}) < 0.02);
        assert!(gate_share(&bad, |_| {}) > 0.07, "a bad canary at 10 % is seen");
        assert!(gate_share(&bad, |m| m.canary = 0.0) < 0.02, "and no longer without traffic");
        assert!(gate_share(&bad, |m| m.canary_version = "v1.4.2".into()) < 0.02, "or without its release");
        let mut model = Model::new(1);
        model.canary = 0.0;
        model.step(Duration::from_secs(1), &bad);
        assert_eq!(model.canary_version, BAD_RELEASE);
        model.step(Duration::from_secs(20), &bad);
        assert_eq!(model.canary_version, MENDED_RELEASE, "what was taken out of the traffic is mended");
        assert!(gate_share(&Effect::default(), |m| m.data_damaged = 0.4) > 0.2, "damaged data lowers it for everyone");
    }
}
