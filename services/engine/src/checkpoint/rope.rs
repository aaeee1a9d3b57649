//! The angles of the rotary embedding, and how checkpoints stretch them for long contexts.

/// How the frequencies of a longer context follow from the trained ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// As trained.
    None,
    /// Every frequency divided by one factor.
    Linear(f64),
    /// Llama 3: low frequencies divided by the factor, high ones kept, those between blended.
    Llama3 {
        /// Divides the lowest frequencies.
        factor: f64,
        /// Wavelengths over `original / low` are divided wholly.
        low: f64,
        /// Wavelengths under `original / high` are kept.
        high: f64,
        /// Positions that the model was trained on before it was stretched.
        original: f64,
    },
    /// One divisor for each frequency, as GGUF files carry them.
    Divisors(Vec<f32>),
}

/// The rotary embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base that the frequencies are powers of.
    pub theta: f64,
    /// How they are stretched.
    pub scaling: Scaling,
}

impl Rope {
    /// The angle by which each pair of a head turns from one position to the next: `head_dim / 2` of them.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|pair| {
                let power = (2 * pair) as f64 / head_dim as f64;
                self.stretch(pair, 1.0 / self.theta.powf(power)) as f32
            })
            .collect()
    }

    fn stretch(&self, pair: usize, frequency: f64) -> f64 {
        match &self.scaling {
            Scaling::None => frequency,
            Scaling::Linear(factor) => frequency / factor,
            Scaling::Divisors(divisors) => {
                frequency / divisors.get(pair).map_or(1.0, |&divisor| divisor.into())
            }
            &Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let wavelength = 2.0 * std::f64::consts::PI / frequency;
                if wavelength < original / high {
                    frequency
                } else if wavelength > original / low {
                    frequency / factor
                } else {
                    let smooth = (original / wavelength - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one_and_stretch_where_asked() {
        let plain = Rope {
            theta: 10_000.0,
            scaling: Scaling::None,
        };
        let trained = plain.frequencies(64);
        assert_eq!((trained.len(), trained[0]), (32, 1.0));
        assert!(trained.is_sorted_by(|a, b| a > b));
        let linear = Rope {
            scaling: Scaling::Linear(4.0),
            ..plain.clone()
        };
        assert_eq!(linear.frequencies(64)[5], trained[5] / 4.0);
        let llama3 = Rope {
            scaling: Scaling::Llama3 {
                factor: 8.0,
                low: 1.0,
                high: 4.0,
                original: 8192.0,
            },
            ..plain
        };
        let stretched = llama3.frequencies(64);
        assert_eq!(stretched[0], trained[0]);
        assert_eq!(stretched[31], (f64::from(trained[31]) / 8.0) as f32);
    }
}
