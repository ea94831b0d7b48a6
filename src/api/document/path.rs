//! Where a value is within an argument or a variable: `filter.or.0.title`.

use std::fmt;

/// A place, known by what is around it: nothing is written down until it is told.
#[derive(Clone, Copy)]
pub struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    /// Of an argument or a variable.
    pub const fn of(name: &'p str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    pub const fn name(&'p self, name: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Name(name) }
    }

    pub const fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// Names, and positions in lists from 0, without the first name.
    pub fn within(&self) -> Vec<String> {
        let mut steps = Vec::new();
        let mut path = self;
        while let Some(parent) = path.parent {
            steps.push(path.step.to_string());
            path = parent;
        }
        steps.reverse();
        steps
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        self.step.fmt(f)
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}
