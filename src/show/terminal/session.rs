//! The loop: keys, readings and the clock in; frames out. It draws only when something may have changed, at once after a
//! key, and for data a few times a second at the most.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use futures_util::StreamExt;
use ratatui::layout::Position;
use tokio::time::{Instant, sleep_until};

use super::background::{Awaited, QUESTION};
use super::clipboard;
use super::screen::{Screen, restore};
use super::script::{KeyScript, PATIENCE, ScriptedStep};
use crate::base::clock::{Clock, Stamp};
use crate::base::process::Stat;
use crate::config::Config;
use crate::observe::reading::Delivery;
use crate::show::cockpit::{Command, Message, State, update};
use crate::show::keymap::Keymap;
use crate::show::theme::Theme;
use crate::show::view;
use crate::status::{Request, Update};

/// A configuration read again, whole.
pub struct Reload {
    pub config: Arc<Config>,
    pub keymap: Arc<Keymap>,
    pub theme: Theme,
}

/// What the session needs of the rest of the program.
pub trait Outside {
    /// What sources left since the last time, without waiting.
    fn take(&mut self) -> Delivery;
    /// Comes back when sources have left something.
    fn rung(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
    fn set_window(&mut self, window: Duration);
    fn refresh(&mut self);
    /// Reads everything again and polls by it; on an error everything stays as it was.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn reload(&mut self) -> Result<Reload, String>;
    /// Whether a file that `reload` would read has changed.
    fn changed(&mut self) -> bool;
    /// # Errors
    /// What is wrong with the theme, in words.
    fn theme(&mut self, name: &str) -> Result<Theme, String>;
    fn next_theme(&mut self) -> Theme;
    /// What the terminal's background is by its own word; a theme, where that makes it another one.
    fn background(&mut self, light: bool) -> Option<Theme>;
    /// Something for the backend; what comes of it is heard later.
    fn request(&mut self, request: Request);
    /// What the backend has said since the last time.
    fn heard(&mut self) -> Vec<Update>;
}

/// At most so many frames a second after keys.
const FRAME: Duration = Duration::from_millis(33);
/// Update of several sources are taken in, judged and drawn together: at most so often.
const GATHER: Duration = Duration::from_millis(100);
/// A signal that comes so soon after belongs to what was before.
const JUST_NOW: Duration = Duration::from_secs(1);
/// How often files are looked at for changes.
const LOOK: u64 = 2;

pub struct CockpitSession<O: Outside> {
    screen: Screen,
    state: State,
    theme: Theme,
    outside: O,
    clock: Clock,
    size: (u16, u16),
    drawn: Instant,
    /// When news were last taken in.
    gathered: Instant,
    /// When the next frame is due, if one is.
    due: Option<Instant>,
    leaving: bool,
    script: Option<Playing>,
    /// What the terminal is to say of its background.
    /// When it came back last from a stop of its own.
    resumed: Option<Instant>,
    awaited: Option<Awaited>,
}

/// A script that is being played.
struct Playing {
    script: KeyScript,
    /// When the next step is due.
    due: Instant,
    /// When an `until` gives up.
    patience: Option<Instant>,
}

/// How often the screen is looked at for the text of an `until`.
const GLANCE: Duration = Duration::from_millis(50);

/// What woke the loop.
enum Woken {
    Input(Option<io::Result<Event>>),
    Update,
    Clock,
    Frame,
    Stop,
    Background,
    Continued,
    KeyScript,
}

/// How long is looked whether more was read with an event. Not at all would be too short: what has been read and not been
/// taken yet is only looked at when there is time left.
const BESIDE: Duration = Duration::from_micros(100);

/// An event and all that came in the same read, however late that is looked at. The stream of events would give them one by
/// one, each as if it had come by itself.
fn with_what_came_beside(first: Event) -> io::Result<Vec<Event>> {
    let mut read = vec![first];
    // Twice: the time may be over because another process was given the processor.
    while crossterm::event::poll(BESIDE)? || crossterm::event::poll(BESIDE)? {
        read.push(crossterm::event::read()?);
    }
    Ok(read)
}

impl<O: Outside> CockpitSession<O> {
    pub fn new(screen: Screen, state: State, theme: Theme, outside: O) -> CockpitSession<O> {
        let area = screen.area();
        let now = Instant::now();
        CockpitSession {
            screen,
            state,
            theme,
            outside,
            clock: Clock::System,
            size: (area.width, area.height),
            drawn: now,
            gathered: now,
            due: Some(now),
            leaving: false,
            script: None,
            resumed: None,
            awaited: None,
        }
    }

    /// Asks the terminal for its background. Whenever it answers the theme follows.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn ask_for_background(&mut self) -> io::Result<()> {
        self.awaited = Some(Awaited::new(self.clock.now()));
        self.screen.send(QUESTION)
    }

    /// Runs until the operator leaves, or `stop` comes back.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn run(mut self, stop: impl Future<Output = ()>, script: Option<KeyScript>) -> io::Result<Vec<String>> {
        self.script = script.map(|script| Playing { script, due: Instant::now(), patience: None });
        let mut events = EventStream::new();
        let signals =
            |signal: rustix::process::Signal| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(signal.as_raw()));
        let (mut background, mut continued) = (signals(rustix::process::Signal::TSTP)?, signals(rustix::process::Signal::CONT)?);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        tokio::pin!(stop);
        self.draw()?;
        let mut ticks = 0u64;
        while !self.leaving {
            let frame = self.due;
            let step = self.script.as_ref().map(|s| s.due);
            let woken = {
                let news = async {
                    sleep_until(self.gathered + GATHER).await;
                    self.outside.rung().await;
                };
                tokio::select! {
                    biased;
                    () = &mut stop => Woken::Stop,
                    _ = background.recv() => Woken::Background,
                    _ = continued.recv() => Woken::Continued,
                    input = events.next() => Woken::Input(input),
                    () = async { sleep_until(frame.unwrap_or_else(Instant::now)).await }, if frame.is_some() => Woken::Frame,
                    () = async { sleep_until(step.unwrap_or_else(Instant::now)).await }, if step.is_some() => Woken::KeyScript,
                    _ = tick.tick() => Woken::Clock,
                    () = news => Woken::Update,
                }
            };
            match woken {
                Woken::Stop => break,
                Woken::Background => self.suspend(false)?,
                // Somebody else stopped us, and a shell has had the terminal since.
                Woken::Continued => {
                    // After a stop of our own it has been taken again already.
                    if self.resumed.take().is_none_or(|at| at.elapsed() >= JUST_NOW) {
                        restore();
                        self.take_again()?;
                    }
                }
                Woken::Input(None) => break,
                Woken::Input(Some(event)) => {
                    // The time of the read: what is done with the first of them may take longer than fingers do.
                    let at = self.clock.now();
                    let read = with_what_came_beside(event?)?;
                    self.read(read, at)?;
                }
                Woken::Frame => self.draw()?,
                Woken::Update => self.news()?,
                Woken::KeyScript => self.play()?,
                Woken::Clock => {
                    ticks += 1;
                    self.send(Message::Tick(self.clock.now()))?;
                    self.wish(Duration::ZERO);
                    if ticks.is_multiple_of(LOOK) && self.outside.changed() {
                        self.reload();
                    }
                }
            }
            // A frame that is due at once does not wait for a timer's next tick.
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.draw()?;
            }
        }
        Ok(self.state.goes_on())
    }

    /// Takes the next step of the script.
    fn play(&mut self) -> io::Result<()> {
        let Some(mut playing) = self.script.take() else { return Ok(()) };
        let now = Instant::now();
        match playing.script.steps.front().cloned() {
            None => return Ok(()),
            Some(ScriptedStep::Wait(time)) => playing.due = now + time,
            Some(ScriptedStep::Press(key)) => {
                self.state.now = self.clock.now();
                self.send(Message::Key(key))?;
                self.wish(Duration::ZERO);
                playing.due = now + FRAME * 2;
            }
            Some(ScriptedStep::Until(text)) => {
                let patience = *playing.patience.get_or_insert(now + PATIENCE);
                if !self.screen.shows(&text) {
                    if now >= patience {
                        let words = format!("the script waited for `{text}` in vain");
                        return Err(io::Error::new(io::ErrorKind::TimedOut, words));
                    }
                    playing.due = now + GLANCE;
                    self.script = Some(playing);
                    return Ok(());
                }
                playing.patience = None;
                playing.due = now;
            }
        }
        playing.script.steps.pop_front();
        self.script = Some(playing);
        Ok(())
    }

    fn news(&mut self) -> io::Result<()> {
        self.gathered = Instant::now();
        for news in self.outside.heard() {
            self.send(Message::Heard(Box::new(news), self.clock.now()))?;
            self.wish(GATHER);
        }
        let delivery = self.outside.take();
        if !delivery.is_empty() {
            let now = self.clock.now();
            update(&mut self.state, Message::Delivered(Box::new(delivery), now), &mut self.size);
            self.wish(GATHER);
        }
        Ok(())
    }

    /// Wishes a frame in so long, or sooner if one is due already; never sooner than the pace allows.
    fn wish(&mut self, delay: Duration) {
        let wished = (Instant::now() + delay).max(self.drawn + FRAME);
        self.due = Some(self.due.map_or(wished, |due| due.min(wished)));
    }

    fn draw(&mut self) -> io::Result<()> {
        self.drawn = Instant::now();
        self.due = None;
        let (state, theme) = (&self.state, &self.theme);
        self.screen.frame(|area, buffer| view::draw(state, theme, area, buffer))
    }

    /// What came in one read. Keys that stand together stay together.
    fn read(&mut self, events: Vec<Event>, at: Stamp) -> io::Result<()> {
        // Confirming depends on when a key was pressed.
        self.state.now = at;
        let mut keys = Vec::new();
        for event in events {
            match event {
                Event::Key(key) => keys.push(key),
                other => {
                    self.keys(&mut keys)?;
                    self.input(other)?;
                }
            }
        }
        self.keys(&mut keys)
    }

    fn keys(&mut self, keys: &mut Vec<KeyEvent>) -> io::Result<()> {
        let mut keys = std::mem::take(keys);
        if let Some(awaited) = &mut self.awaited {
            let (rest, light) = awaited.take(keys, self.state.now);
            keys = rest;
            if awaited.is_over() {
                self.awaited = None;
            }
            if let Some(theme) = light.and_then(|light| self.outside.background(light)) {
                self.theme = theme;
                self.wish(Duration::ZERO);
            }
        }
        if !keys.is_empty() {
            self.send(Message::Keys(keys))?;
            self.wish(Duration::ZERO);
        }
        Ok(())
    }

    fn input(&mut self, event: Event) -> io::Result<()> {
        let message = match event {
            Event::Key(key) => Message::Key(key),
            Event::Paste(text) => Message::Paste(text),
            Event::Resize(width, height) => {
                self.screen.resize(width, height);
                Message::Resize(width, height)
            }
            Event::Mouse(mouse) => match self.mouse(mouse) {
                Some(message) => message,
                None => return Ok(()),
            },
            Event::FocusGained | Event::FocusLost => return Ok(()),
        };
        self.send(message)?;
        self.wish(Duration::ZERO);
        Ok(())
    }

    /// A click focuses; the wheel focuses, too, and then scrolls.
    fn mouse(&mut self, mouse: MouseEvent) -> Option<Message> {
        let at = Position::new(mouse.column, mouse.row);
        let areas = view::panel_areas(&self.state, self.screen.area());
        let panel = areas.into_iter().find(|(_, rect)| rect.contains(at)).map(|(index, _)| index)?;
        if matches!(mouse.kind, MouseEventKind::ScrollUp | MouseEventKind::ScrollDown) {
            update(&mut self.state, Message::Focus(panel), &mut self.size);
        }
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Message::Focus(panel)),
            MouseEventKind::ScrollUp => Some(Message::Scroll(-3)),
            MouseEventKind::ScrollDown => Some(Message::Scroll(3)),
            _ => None,
        }
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        for command in update(&mut self.state, message, &mut self.size) {
            self.carry_out(command)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Quit => self.leaving = true,
            Command::Copy(text) => match clipboard::sequence(&text) {
                Some(sequence) => self.screen.send(&sequence)?,
                None => self.say("too much to copy", true),
            },
            Command::SetWindow(window) => self.outside.set_window(window),
            Command::Refresh => self.outside.refresh(),
            Command::Reload => self.reload(),
            Command::Redraw => self.screen.forget(),
            Command::Suspend => self.suspend(true)?,
            Command::Theme(name) => match self.outside.theme(&name) {
                Ok(theme) => self.theme = theme,
                Err(words) => self.say(&words, true),
            },
            Command::Backend(request) => self.outside.request(request),
            Command::NextTheme => {
                self.theme = self.outside.next_theme();
                let name = format!("theme {}", self.theme.name);
                self.say(&name, false);
            }
        }
        Ok(())
    }

    fn say(&mut self, text: &str, fault: bool) {
        update(&mut self.state, Message::Notice { text: text.to_string(), fault }, &mut self.size);
        self.wish(Duration::ZERO);
    }

    fn reload(&mut self) {
        match self.outside.reload() {
            Ok(reload) => {
                self.theme = reload.theme;
                update(&mut self.state, Message::Reloaded(reload.config, reload.keymap), &mut self.size);
                self.outside.set_window(self.state.window);
                self.say("configuration, keymap and theme read again", false);
            }
            Err(words) => {
                update(&mut self.state, Message::NotReloaded, &mut self.size);
                self.say(&format!("not reloaded, all stays as it was: {words}"), true);
            }
        }
    }

    /// Gives the terminal back, stops, and takes it again when continued. The key stops the whole group, as it would
    /// without us in raw mode.
    fn suspend(&mut self, group: bool) -> io::Result<()> {
        use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};
        // Nobody could bring back the leader of a session.
        if group && Stat::of("self").is_some_and(|own| own.session == own.group) {
            self.say("there is no shell behind this terminal to come back from", true);
            return Ok(());
        }
        restore();
        // The next line runs when somebody continues us.
        let _ = if group { kill_current_process_group(Signal::STOP) } else { kill_process(getpid(), Signal::STOP) };
        self.resumed = Some(Instant::now());
        self.take_again()
    }

    fn take_again(&mut self) -> io::Result<()> {
        self.screen.take()?;
        let area = self.screen.area();
        self.size = (area.width, area.height);
        self.draw()
    }
}
