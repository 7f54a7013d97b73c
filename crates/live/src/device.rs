//! Sound from a device of the system.

use std::sync::mpsc::{Receiver, channel};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{Device, FromSample, Host, Sample, SampleFormat, SizedSample, StreamConfig};

use crate::ring::{RingReader, ring};
use crate::{LiveError, Result};

/// The seconds of sound that wait at most.
const RING_SECONDS: f64 = 2.0;

/// A device that is heard. Dropping it ends the sound.
pub struct InputDevice {
    stream: cpal::Stream,
    /// The name.
    pub name: String,
    /// The samples per second.
    pub rate: u32,
    errors: Receiver<String>,
}

impl InputDevice {
    /// Opens the input whose name contains `part`, or the default one, and starts it.
    ///
    /// # Errors
    /// [`LiveError::Device`], with the devices that there are.
    pub fn open(part: Option<&str>) -> Result<(Self, RingReader)> {
        let host = host();
        let failed = |reason: String| LiveError::Device { device: "sound input".to_string(), reason };
        let device = match part {
            None => host.default_input_device(),
            Some(part) => devices(&host)?.into_iter().find(|device| name_of(device).contains(part)),
        };
        let Some(device) = device else {
            let names: Vec<String> = devices(&host)?.iter().map(name_of).collect();
            let wanted = part.map_or("no default input".to_string(), |part| format!("no input `{part}`"));
            return Err(failed(format!("{wanted}; there are [{}]", names.join(", "))));
        };
        let config = device.default_input_config().map_err(|error| failed(error.to_string()))?;
        let rate = config.sample_rate();
        let (format, config) = (config.sample_format(), StreamConfig::from(config));
        let (errors, receiver) = channel();
        let (stream, reader) = match format {
            SampleFormat::F32 => stream::<f32>(&device, config, rate, errors),
            SampleFormat::I16 => stream::<i16>(&device, config, rate, errors),
            SampleFormat::U16 => stream::<u16>(&device, config, rate, errors),
            SampleFormat::I32 => stream::<i32>(&device, config, rate, errors),
            other => {
                return Err(failed(format!("{} gives samples as {other}, which is not supported", name_of(&device))));
            }
        }
        .map_err(|error| failed(error.to_string()))?;
        stream.play().map_err(|error| failed(error.to_string()))?;
        Ok((InputDevice { stream, name: name_of(&device), rate, errors: receiver }, reader))
    }

    /// The errors that the system reported since the last call, such as samples that it lost itself.
    pub fn errors(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    /// Stops the sound.
    pub fn stop(&self) {
        // A device that cannot pause ends with the stream.
        let _ = self.stream.pause();
    }
}

/// The stream of a device into a ring. The callback converts into memory that it has, and neither waits nor allocates.
fn stream<T: SizedSample>(
    device: &Device,
    config: StreamConfig,
    rate: u32,
    errors: std::sync::mpsc::Sender<String>,
) -> std::result::Result<(cpal::Stream, RingReader), cpal::Error>
where
    f32: FromSample<T>,
{
    let (mut writer, reader) = ring(rate, RING_SECONDS);
    let channels = usize::from(config.channels);
    let mut samples: Vec<f32> = Vec::with_capacity(rate as usize * channels);
    let callback = move |data: &[T], _: &cpal::InputCallbackInfo| {
        // A block is far shorter than the second that there is room for; a longer one is handed over in parts.
        for part in data.chunks(samples.capacity().max(channels) / channels * channels) {
            samples.clear();
            samples.extend(part.iter().map(|&sample| f32::from_sample(sample)));
            writer.push(&samples, channels);
        }
    };
    let report = move |error: cpal::Error| drop(errors.send(error.to_string()));
    let stream = device.build_input_stream(config, callback, report, None)?;
    Ok((stream, reader))
}

/// JACK where it is built in, else the system's own.
fn host() -> Host {
    #[cfg(all(feature = "jack", any(target_os = "linux", target_os = "macos")))]
    if let Ok(host) = cpal::host_from_id(cpal::HostId::Jack) {
        return host;
    }
    cpal::default_host()
}

fn devices(host: &Host) -> Result<Vec<Device>> {
    let failed =
        |error: cpal::Error| LiveError::Device { device: "sound input".to_string(), reason: error.to_string() };
    Ok(host.input_devices().map_err(failed)?.collect())
}

fn name_of(device: &Device) -> String {
    device.description().map_or_else(|_| "unnamed".to_string(), |description| description.name().to_string())
}
