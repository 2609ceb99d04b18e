"""Every parser that the fuzzers know."""

from fuzz import of_data, of_reports, of_runs, of_sweeps

PARSERS = {parser.name: parser for group in (of_sweeps, of_runs, of_data, of_reports) for parser in group.PARSERS}
