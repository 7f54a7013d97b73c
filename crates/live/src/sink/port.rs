//! A MIDI port of the system: a virtual one that other programs connect to, or one that exists.

use midir::{MidiOutput, MidiOutputConnection};

use super::MidiSink;
use crate::output::TimedMidi;
use crate::{LiveError, Result};

/// The name under which other programs see this one.
const CLIENT: &str = "mert-tokens";

/// The name of the virtual port.
const PORT: &str = "out";

/// A port to which messages are sent at once.
pub struct PortSink {
    connection: MidiOutputConnection,
    name: String,
}

impl PortSink {
    /// The virtual port `mert-tokens:out`.
    ///
    /// # Errors
    /// [`LiveError::Device`] if the system has no MIDI, or no virtual ports (Windows).
    pub fn create_virtual() -> Result<Self> {
        let name = format!("{CLIENT}:{PORT}");
        #[cfg(unix)]
        {
            use midir::os::unix::VirtualOutput;
            let output = output(&name)?;
            let connection = output.create_virtual(PORT).map_err(|error| device(&name, &error))?;
            Ok(PortSink { connection, name })
        }
        #[cfg(not(unix))]
        Err(LiveError::Device {
            device: name,
            reason: "this system has no virtual MIDI ports: name a port".to_string(),
        })
    }

    /// The first port whose name contains `part`.
    ///
    /// # Errors
    /// [`LiveError::Device`], with the ports that there are.
    pub fn open(part: &str) -> Result<Self> {
        let output = output(part)?;
        let ports = output.ports();
        let names: Vec<String> = ports.iter().map(|port| output.port_name(port).unwrap_or_default()).collect();
        let found = names.iter().position(|name| name.contains(part)).and_then(|index| ports.get(index));
        let Some(port) = found else {
            let known =
                if names.is_empty() { "there are none".to_string() } else { format!("there are {}", names.join(", ")) };
            return Err(LiveError::Device {
                device: format!("MIDI port `{part}`"),
                reason: format!("not found; {known}"),
            });
        };
        let name = output.port_name(port).unwrap_or_else(|_| part.to_string());
        let connection = output.connect(port, PORT).map_err(|error| device(&name, &error))?;
        Ok(PortSink { connection, name })
    }

    /// The name of the port.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl MidiSink for PortSink {
    fn send(&mut self, message: &TimedMidi) -> Result<()> {
        self.connection.send(&message.bytes).map_err(|error| device(&self.name, &error))
    }

    fn finish(&mut self) -> Result<()> {
        // JACK takes what was sent in its next period; a port that closes before loses it.
        std::thread::sleep(std::time::Duration::from_millis(100));
        Ok(())
    }
}

fn output(name: &str) -> Result<MidiOutput> {
    MidiOutput::new(CLIENT).map_err(|error| device(name, &error))
}

fn device(name: &str, error: &dyn std::fmt::Display) -> LiveError {
    LiveError::Device { device: format!("MIDI port `{name}`"), reason: error.to_string() }
}
