//! One side of a comparison: the points that are there, sorted.

use super::{Outliers, Point};

pub struct CanarySample {
    pub sorted: Vec<f64>,
    /// Points given that are none: null, NaN, infinite.
    pub missing: usize,
    pub outliers: usize,
}

impl CanarySample {
    pub fn new(points: &[Point], outliers: Outliers) -> CanarySample {
        let mut sorted: Vec<f64> = points.iter().filter_map(|p| p.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut sample = CanarySample { missing: points.len() - sorted.len(), sorted, outliers: 0 };
        if outliers == Outliers::Iqr && !sample.sorted.is_empty() {
            let (low, high) = (sample.quantile(0.25), sample.quantile(0.75));
            let fence = 1.5 * (high - low);
            let before = sample.sorted.len();
            sample.sorted.retain(|v| (low - fence..=high + fence).contains(v));
            sample.outliers = before - sample.sorted.len();
        }
        sample
    }

    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    pub fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.len() as f64
    }

    /// The value in the middle; of an empty sample none.
    pub fn median(&self) -> Option<f64> {
        (!self.sorted.is_empty()).then(|| self.quantile(0.5))
    }

    /// Between the two nearest points, in proportion (R's type 7). Of a sample that is not empty.
    fn quantile(&self, share: f64) -> f64 {
        let place = share * (self.len() - 1) as f64;
        let (below, above) = (self.sorted[place.floor() as usize], self.sorted[place.ceil() as usize]);
        below + (above - below) * place.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f64]) -> Vec<Point> {
        values.iter().map(|v| Point::from(Some(*v))).collect()
    }

    #[test]
    fn what_lies_outside_the_fences_is_left_out() {
        let sample = CanarySample::new(&points(&[4.0, 1.0, 2.0, 3.0, 100.0, f64::NAN]), Outliers::Iqr);
        assert_eq!(sample.sorted, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((sample.missing, sample.outliers), (1, 1));
        assert_eq!(CanarySample::new(&points(&[4.0, 1.0, 100.0]), Outliers::Keep).sorted, [1.0, 4.0, 100.0]);
        assert_eq!(CanarySample::new(&[Point(None)], Outliers::Iqr).len(), 0);
    }

    #[test]
    fn quartiles_are_those_of_r() {
        // quantile(c(1, 2, 4, 7, 11, 16), c(0.25, 0.75)) is 2.5 and 10.
        let sample = CanarySample::new(&points(&[1.0, 2.0, 4.0, 7.0, 11.0, 16.0]), Outliers::Keep);
        assert_eq!((sample.quantile(0.25), sample.quantile(0.75)), (2.5, 10.0));
    }
}
