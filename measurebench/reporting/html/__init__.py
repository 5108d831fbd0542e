"""What every page is built from: templates, theme, wording, embedded data and the chart bundle."""
