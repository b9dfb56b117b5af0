//! The state that a watcher knows, and its display.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use rpyc_client::Instance;
use rpyc_client::native::ChangeKind;

use super::follow::Update;
use crate::output::{self, Table};

/// How long a removed instance is still shown.
const GONE_FOR: Duration = Duration::from_secs(10);

/// Instances by name and number.
type Instances = BTreeMap<(String, u64), Seen>;

/// The state that a watcher knows.
#[derive(Debug)]
pub(super) struct View {
    glob: Option<String>,
    registry: String,
    instances: Instances,
    /// The snapshot while it is incomplete. Until it is complete, the last state is shown.
    learning: Option<Instances>,
    gone: Vec<(String, Seen)>,
    /// When the connection was lost, and why.
    lost: Option<(Instant, String)>,
}

#[derive(Debug)]
struct Seen {
    instance: Instance,
    at: Instant,
}

impl View {
    pub(super) fn new(glob: Option<String>, registry: String) -> Self {
        let (instances, gone) = (Instances::new(), Vec::new());
        Self { glob, registry, instances, learning: Some(Instances::new()), gone, lost: None }
    }

    pub(super) fn take(&mut self, update: Update) {
        let now = Instant::now();
        match update {
            Update::Lost(why) => {
                let since = self.lost.as_ref().map_or(now, |(since, _)| *since);
                self.lost = Some((since, why));
                // An incomplete snapshot starts again from the beginning.
                self.learning.as_mut().map(Instances::clear);
            }
            Update::Found => self.lost = None,
            Update::Changed(change) => self.change(now, change.kind),
        }
    }

    /// Drops removed instances after `GONE_FOR`.
    pub(super) fn forget_gone(&mut self) {
        self.gone.retain(|(_, seen)| seen.at.elapsed() < GONE_FOR);
    }

    fn change(&mut self, now: Instant, kind: ChangeKind) {
        let shown = self.learning.as_mut().unwrap_or(&mut self.instances);
        match kind {
            ChangeKind::Added(name, instance) | ChangeKind::Updated(name, instance) => {
                let key = (name, instance.id.unwrap_or_default());
                shown.insert(key, Seen { instance: *instance, at: now });
            }
            ChangeKind::Removed(name, instance) => {
                let key = (name, instance.id.unwrap_or_default());
                shown.remove(&key);
                if self.learning.is_none() {
                    self.gone.push((key.0, Seen { instance: *instance, at: now }));
                }
            }
            ChangeKind::Reset => self.learning = Some(Instances::new()),
            ChangeKind::Current => {
                if let Some(learned) = self.learning.take() {
                    self.instances = learned;
                }
            }
            _ => {}
        }
    }

    /// The lines that fit on the screen.
    pub(super) fn lines(&self, width: u16, height: usize) -> Vec<(Style, String)> {
        let mut lines = self.head();
        // One line is reserved for the summary of the hidden instances.
        let room = height.saturating_sub(lines.len() + 1);
        let mut body = self.table(height).lines(Some(width));
        body.truncate(room);
        let shown = body.last().map_or(0, |line| line.rows);
        lines.extend(body.into_iter().map(|line| (line.style, line.text)));
        let total = self.instances.len() + self.gone.len();
        if total > shown {
            let hidden = self.instances.values().skip(shown).map(|seen| &seen.instance);
            let states = output::states(hidden);
            let more = format!("and {} more: {states}", total - shown);
            lines.push((Style::new().dimmed(), more));
        }
        lines.truncate(height);
        lines
    }

    /// Prints the whole table once.
    pub(super) fn print(&self) -> io::Result<()> {
        output::styled(self.head())?;
        self.table(usize::MAX).print()
    }

    fn head(&self) -> Vec<(Style, String)> {
        let count = u64::try_from(self.instances.len()).unwrap_or(u64::MAX);
        let states = output::states(self.instances.values().map(|seen| &seen.instance));
        let states = if states.is_empty() { states } else { format!(": {states}") };
        let glob = self.glob.as_ref().map(|glob| format!(" {glob}")).unwrap_or_default();
        let count = output::plural(count, "registration");
        let title = format!("{}{glob}  {count}{states}", self.registry);
        let mut head = vec![(Style::new().bold(), title)];
        if let Some((since, why)) = &self.lost {
            let style = Style::new().fg_color(Some(AnsiColor::Red.into()));
            let time = output::duration(Duration::from_secs(since.elapsed().as_secs()));
            head.push((style, format!("reconnecting for {time}: {why}")));
        }
        if self.instances.is_empty() && self.gone.is_empty() {
            let nothing = if self.learning.is_some() {
                "waiting for the registry"
            } else {
                "no service is registered"
            };
            head.push((Style::new().dimmed(), nothing.to_owned()));
        }
        head
    }

    fn table(&self, room: usize) -> Table {
        let mut table = Table::new(output::INSTANCE_COLUMNS);
        let living = self.instances.iter().map(|((name, _), seen)| (name, seen, false));
        let gone = self.gone.iter().map(|(name, seen)| (name, seen, true));
        for (name, seen, is_gone) in living.chain(gone).take(room) {
            let mut instance = seen.instance.clone();
            if !is_gone {
                instance.age = instance.age.map(|age| age + seen.at.elapsed());
            }
            let mut row = output::row(name, &instance, false);
            let mut style = output::state_style(output::state(&instance));
            if is_gone {
                "gone".clone_into(&mut row[3]);
                style = Style::new().dimmed().strikethrough();
            }
            table.push(row, style);
        }
        table
    }
}
