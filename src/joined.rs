//! What the cockpit is joined with: its files, and the sources and the backend behind it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;

use crate::backend::{Clients, Worker, connect_again};
use crate::base::clock::show_local;
use crate::base::diag::{Diagnostic, Severity};
use crate::base::secret::keep_only;
use crate::config::{self, ColorChoice, Config, GlyphChoice, TimeChoice, Ui};
use crate::observe::reading::Delivery;
use crate::observe::source::{Mailbox, Poller};
use crate::show::keymap;
use crate::show::terminal::{Outside, Reload};
use crate::show::theme::{self, Depth, Glyphs, Theme};
use crate::status::{Request, Update};

/// The mistakes among findings, a line each.
pub(crate) fn words(findings: &[Diagnostic]) -> String {
    findings.iter().filter(|f| f.severity == Severity::Error).map(|f| format!("{f}\n")).collect()
}

/// What the command line says about the screen, over what the file says.
#[derive(Clone)]
pub(crate) struct Wishes {
    pub(crate) theme: Option<String>,
    pub(crate) keymap: Option<String>,
    pub(crate) color: Option<ColorChoice>,
    pub(crate) glyphs: Option<GlyphChoice>,
    /// Whether the terminal's background is light, as far as that is known.
    pub(crate) light: bool,
}

impl Wishes {
    fn over(&self, mut ui: Ui) -> Ui {
        ui.theme = self.theme.clone().unwrap_or(ui.theme);
        ui.keymap = self.keymap.clone().unwrap_or(ui.keymap);
        ui.color = self.color.unwrap_or(ui.color);
        ui.glyphs = self.glyphs.unwrap_or(ui.glyphs);
        ui
    }
}

/// Everything the cockpit needs from files.
pub(crate) struct Files {
    pub(crate) config: Arc<Config>,
    pub(crate) keymap: Arc<keymap::Keymap>,
    pub(crate) theme: Theme,
}

pub(crate) fn read_files(path: &Path, wishes: &Wishes) -> Result<Files, String> {
    let loaded = config::load_file(path).map_err(|e| format!("cannot read {}: {e}\n", path.display()))?;
    let Some(mut config) = loaded.config else { return Err(words(&loaded.findings)) };
    for warning in &loaded.findings {
        log::warn!(target: "config", "{warning}");
    }
    config.ui = wishes.over(config.ui);
    show_local(config.ui.time == TimeChoice::Local);
    let folder = path.parent().unwrap_or(Path::new("."));
    let keymap = keymap::load(&config.ui.keymap, folder).map_err(|f| words(&f))?;
    let theme = themed(&config.ui, wishes.light, folder)?;
    Ok(Files { config: Arc::new(config), keymap: Arc::new(keymap), theme })
}

fn themed(ui: &Ui, light: bool, folder: &Path) -> Result<Theme, String> {
    let name = if ui.theme == theme::AUTO { theme::BY_BACKGROUND[usize::from(light)] } else { &ui.theme };
    let theme = theme::load(name, folder).map_err(|f| words(&f))?;
    let var = |name: &str| std::env::var(name).ok();
    let depth = match ui.color {
        ColorChoice::Auto => theme::detect_depth(var),
        ColorChoice::Truecolor => Depth::Truecolor,
        ColorChoice::Indexed => Depth::Indexed,
        ColorChoice::Ansi => Depth::Ansi,
        ColorChoice::None => Depth::None,
    };
    let glyphs = match ui.glyphs {
        GlyphChoice::Auto => theme::detect_glyphs(var),
        GlyphChoice::Unicode => Glyphs::Unicode,
        GlyphChoice::Ascii => Glyphs::Ascii,
    };
    Ok(theme.shown_on(depth, glyphs))
}

/// The sources and files behind the cockpit.
pub(crate) struct Joined<'a> {
    pub(crate) path: PathBuf,
    pub(crate) wishes: Wishes,
    pub(crate) runtime: &'a Runtime,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) poller: Option<Poller>,
    pub(crate) clients: Clients,
    /// The times at which the files were last changed.
    pub(crate) seen: Vec<Option<SystemTime>>,
    pub(crate) theme: String,
    pub(crate) config: Arc<Config>,
    pub(crate) clerk: Worker,
}

impl Joined<'_> {
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

impl Outside for Joined<'_> {
    fn take(&mut self) -> Delivery {
        self.mailbox.take()
    }

    fn rung(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            tokio::select! {
                () = self.mailbox.rung() => {}
                () = self.clerk.rung() => {}
            }
        })
    }

    fn request(&mut self, request: Request) {
        self.clerk.request(request);
    }

    fn heard(&mut self) -> Vec<Update> {
        self.clerk.take()
    }

    fn set_window(&mut self, window: Duration) {
        if let Some(poller) = &self.poller {
            poller.set_window(window);
        }
    }

    fn refresh(&mut self) {
        if let Some(poller) = &self.poller {
            poller.refresh();
        }
    }

    fn reload(&mut self) -> Result<Reload, String> {
        let files = read_files(&self.path, &self.wishes).map_err(|words| {
            log::error!(target: "config", "{words}");
            words.lines().map(str::trim).collect::<Vec<_>>().join(" · ")
        })?;
        // Whoever is asked the same goes on being asked: a scrape source would forget what it has read.
        if !files.config.asks_the_same(&self.config) {
            let mailbox = Arc::new(Mailbox::default());
            let poller = connect_again(&files.config, self.runtime.handle(), (files.config.ui.window, mailbox.clone()), &mut self.clients)?;
            // Only now, with everything there, the old gives way to the new.
            self.poller = Some(poller);
            self.mailbox = mailbox;
        }
        self.clerk.reload(files.config.clone());
        // What no reference leads to any more is no secret of this process.
        keep_only(&files.config.secrets());
        self.config = files.config.clone();
        self.theme.clone_from(&files.theme.name);
        Ok(Reload { config: files.config, keymap: files.keymap, theme: files.theme })
    }

    fn changed(&mut self) -> bool {
        let files = [self.path.clone(), self.folder().join(&self.config.ui.theme), self.folder().join(&self.config.ui.keymap)];
        let times: Vec<Option<SystemTime>> = files.iter().map(|f| std::fs::metadata(f).and_then(|m| m.modified()).ok()).collect();
        let before = std::mem::replace(&mut self.seen, times);
        !before.is_empty() && before != self.seen
    }

    fn theme(&mut self, name: &str) -> Result<Theme, String> {
        let theme = themed(&Ui { theme: name.into(), ..self.config.ui.clone() }, self.wishes.light, self.folder())?;
        self.theme = name.to_string();
        self.wishes.theme = Some(name.to_string());
        Ok(theme)
    }

    fn background(&mut self, light: bool) -> Option<Theme> {
        let is_other = std::mem::replace(&mut self.wishes.light, light) != light;
        let ui = self.wishes.over(self.config.ui.clone());
        let theme = themed(&ui, light, self.folder()).ok().filter(|_| is_other && ui.theme == theme::AUTO)?;
        self.theme.clone_from(&theme.name);
        Some(theme)
    }

    fn next_theme(&mut self) -> Theme {
        let names: Vec<&str> = theme::shipped_names().collect();
        let next = names.iter().position(|n| *n == self.theme).map_or(0, |i| (i + 1) % names.len());
        self.theme(names[next]).unwrap_or_default()
    }
}
