//! Charts of one scenario, as SVG that the page's style sheet recolours for light and dark.

use std::fmt::Write as _;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::words::round_number;
use crate::figures::{Figure, Row, Scenario};

pub(super) type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// Horizontal bars of the medians, with whiskers from the least round to the greatest.
pub(super) fn bars(scenario: &Scenario, figure: Figure) -> Result<String, DrawError> {
    let unit = figure.words().unit;
    let greatest = greatest(scenario, &[figure]) / unit.size;
    // Room for the number behind the longest bar.
    let end = if greatest > 0.0 { greatest * 1.22 } else { 1.0 };
    draw(scenario, 0.0..end, 0.0, |chart, row, y| {
        if matches!(figure, Figure::RatioToFloor | Figure::RatioToWithout) {
            let floor = vec![(1.0, y - 0.5), (1.0, y + 0.5)];
            chart.draw_series([PathElement::new(floor, INK.light)])?;
        }
        let Some(spread) = row.figure(figure) else {
            return note(chart, (0.0, y), absence(row));
        };
        let [median, min, max] = [spread.median, spread.min, spread.max].map(|v| v / unit.size);
        let colour = colour(&row.server.kind).light;
        let bar = Rectangle::new([(0.0, y - 0.31), (median, y + 0.31)], colour.filled());
        chart.draw_series([bar])?;
        if spread.rounds > 1 {
            let whisker = ErrorBar::new_horizontal(y, min, median, max, INK.light.filled(), 7);
            chart.draw_series([whisker])?;
        }
        note(chart, (max, y), &row.number(figure, spread.median))
    })
}

/// A latency's percentiles on a logarithmic scale, the least of them first: a dot, a ring, a
/// triangle and a cross on one line.
pub(super) fn percentiles(scenario: &Scenario, figures: &[Figure]) -> Result<String, DrawError> {
    let greatest = greatest(scenario, figures);
    let least = medians(scenario, figures)
        .filter(|median| *median > 0.0)
        .fold(greatest, f64::min);
    // Whole decades to the left; to the right, room for the numbers. A logarithmic scale has no
    // zero: what took no time stands at its beginning.
    let start = if least > 0.0 {
        10_f64.powf(least.log10().floor())
    } else {
        1.0
    };
    let end = (greatest / start).max(10.0).powf(1.65) * start;
    let range = (start..end).log_scale();
    draw(scenario, range, start, |chart, row, y| {
        let medians = figures.iter().filter_map(|figure| row.figure(*figure));
        let points: Vec<(f64, f64)> = medians.map(|s| (s.median.max(start), y)).collect();
        let Some(last) = points.last() else {
            return note(chart, (start, y), absence(row));
        };
        let colour = colour(&row.server.kind).light;
        chart.draw_series([PathElement::new(points.clone(), colour.stroke_width(2))])?;
        let mark = |figure| figures.iter().position(|other| *other == figure);
        for (figure, point) in figures
            .iter()
            .filter(|f| row.figure(**f).is_some())
            .zip(&points)
        {
            let solid = colour.filled();
            match mark(*figure) {
                Some(0) => chart
                    .draw_series([Circle::new(*point, 5, solid)])
                    .map(|_| ())?,
                Some(1) if figures.len() > 2 => {
                    let ring = colour.stroke_width(2);
                    chart
                        .draw_series([Circle::new(*point, 4, ring)])
                        .map(|_| ())?;
                }
                Some(3) => {
                    let cross = colour.stroke_width(2);
                    chart
                        .draw_series([Cross::new(*point, 4, cross)])
                        .map(|_| ())?;
                }
                _ => chart
                    .draw_series([TriangleMarker::new(*point, 6, solid)])
                    .map(|_| ())?,
            }
        }
        let numbers = named_percentiles(row, figures);
        note(chart, *last, &numbers)
    })
}

/// The rules that recolour the charts: their colours, for light and for dark.
pub(super) fn style() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    let mut rules = String::new();
    for Colour {
        name,
        light: RGBColor(r, g, b),
        dark: in_dark,
    } in [INK, GRID].iter().chain(&KINDS)
    {
        let hex = format!("#{r:02X}{g:02X}{b:02X}");
        // Writing to a string cannot fail.
        let _ = write!(light, "--{name}:{hex};");
        let _ = write!(dark, "--{name}:{in_dark};");
        let _ = writeln!(
            rules,
            "svg [fill=\"{hex}\"]{{fill:var(--{name})}} svg [stroke=\"{hex}\"]{{stroke:var(--{name})}}"
        );
    }
    format!(":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}")
}

/// The name of the style sheet's variable that holds a kind's colour.
pub(super) fn colour_name(kind: &str) -> &'static str {
    colour(kind).name
}

/// A colour in the drawing, which is also the light one, and what takes its place in the dark.
struct Colour {
    name: &'static str,
    light: RGBColor,
    dark: &'static str,
}

fn colour(kind: &str) -> &'static Colour {
    let [fanfare, native, floor, peer, websocket, long_poll, poll, other] = &KINDS;
    match kind {
        "fanfare" | "fanfare-inline" | "sse" => fanfare,
        "native" | "control" | "bare" => native,
        "floor" => floor,
        "peer" => peer,
        "websocket" => websocket,
        "long-poll" => long_poll,
        "poll" => poll,
        _ => other,
    }
}

type Chart<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;

/// A line per server: its label on the left, and what `draw_row` makes of it at its height.
fn draw<X, R>(
    scenario: &Scenario,
    range: R,
    start: f64,
    mut draw_row: impl FnMut(&mut Chart<'_, '_, X>, &Row, f64) -> Result<(), DrawError>,
) -> Result<String, DrawError>
where
    R: AsRangedCoord<CoordDescType = X, Value = f64>,
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let rows = &scenario.rows;
    let lines = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let height = LINE.saturating_mul(lines).saturating_add(AXIS);
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin_left(LABELS)
        // Half of the axis' last number may stand beyond its end.
        .margin_right(28)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(range, 0.0..f64::from(lines))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(5)
        .x_label_formatter(&|value| round_number(*value))
        .axis_style(GRID.light)
        .bold_line_style(GRID.light)
        .light_line_style(TRANSPARENT)
        .label_style(font())
        .draw()?;
    for (index, row) in (0_u32..).zip(rows) {
        // The first stands at the top.
        let y = f64::from(lines - index) - 0.5;
        let anchor = Pos::new(HPos::Right, VPos::Center);
        let label = Text::new(shortened(&row.server.label()), (-8, 0), font().pos(anchor));
        chart.draw_series([EmptyElement::at((start, y)) + label])?;
        draw_row(&mut chart, row, y)?;
    }
    drop(chart);
    root.present()?;
    drop(root);
    Ok(svg)
}

/// A few words to the right of a point.
fn note<X>(chart: &mut Chart<'_, '_, X>, at: (f64, f64), text: &str) -> Result<(), DrawError>
where
    X: Ranged<ValueType = f64>,
{
    let anchor = Pos::new(HPos::Left, VPos::Center);
    let text = Text::new(text.to_owned(), (9, 0), font().pos(anchor));
    chart.draw_series([EmptyElement::at(at) + text])?;
    Ok(())
}

fn font() -> TextStyle<'static> {
    ("sans-serif", 13).into_font().color(&INK.light)
}

fn absence(row: &Row) -> &'static str {
    if row.failures.is_empty() {
        "not measured"
    } else {
        "failed"
    }
}

/// The first percentile and the one before the longest, `85 · 412`.
fn named_percentiles(row: &Row, figures: &[Figure]) -> String {
    let named = figures.iter().filter(|figure| {
        matches!(
            figure,
            Figure::LatencyP50
                | Figure::LatencyP99
                | Figure::LastP50
                | Figure::LastP99
                | Figure::PublishP50
                | Figure::PublishP99
        )
    });
    let numbers: Vec<String> = named
        .filter_map(|figure| Some(figure.number(row.figure(*figure)?.median)))
        .collect();
    numbers.join(" · ")
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS {
        return label.to_owned();
    }
    label.chars().take(LABEL_CHARS - 1).chain(['…']).collect()
}

fn medians<'a>(scenario: &'a Scenario, figures: &'a [Figure]) -> impl Iterator<Item = f64> + 'a {
    let rows = scenario.rows.iter();
    rows.flat_map(|row| figures.iter().filter_map(|figure| row.figure(*figure)))
        .map(|spread| spread.median)
}

fn greatest(scenario: &Scenario, figures: &[Figure]) -> f64 {
    let rows = scenario.rows.iter();
    rows.flat_map(|row| figures.iter().filter_map(|figure| row.figure(*figure)))
        .fold(0.0, |greatest, spread| spread.max.max(greatest))
}

/// Narrow enough for a phone, where a wider chart's letters would shrink.
const WIDTH: u32 = 412;
/// The height of a server's line.
const LINE: u32 = 28;
/// The height of the axis and its numbers.
const AXIS: u32 = 30;
/// The width of the servers' labels.
const LABELS: u32 = 130;
const LABEL_CHARS: usize = 19;

const INK: Colour = Colour {
    name: "chart-ink",
    light: RGBColor(0x1B, 0x1F, 0x24),
    dark: "#E4E8ED",
};
const GRID: Colour = Colour {
    name: "chart-grid",
    light: RGBColor(0xD6, 0xDA, 0xDF),
    dark: "#3A424C",
};

/// Okabe and Ito's colours, which colour-blind readers can tell apart, and greys. In the order of
/// [`colour`].
const KINDS: [Colour; 8] = [
    Colour {
        name: "fanfare",
        light: RGBColor(0x00, 0x72, 0xB2),
        dark: "#56B4E9",
    },
    Colour {
        name: "native",
        light: RGBColor(0xE6, 0x9F, 0x00),
        dark: "#E69F00",
    },
    Colour {
        name: "floor",
        light: RGBColor(0x8A, 0x90, 0x98),
        dark: "#8A9099",
    },
    Colour {
        name: "peer",
        light: RGBColor(0x00, 0x9E, 0x73),
        dark: "#1DBF91",
    },
    Colour {
        name: "websocket",
        light: RGBColor(0xCC, 0x79, 0xA7),
        dark: "#DD90BA",
    },
    Colour {
        name: "long-poll",
        light: RGBColor(0xD5, 0x5E, 0x00),
        dark: "#F07F2E",
    },
    Colour {
        name: "poll",
        light: RGBColor(0x5B, 0x4B, 0x8A),
        dark: "#B3A4EC",
    },
    Colour {
        name: "other",
        light: RGBColor(0x5A, 0x61, 0x6A),
        dark: "#B5BCC5",
    },
];
