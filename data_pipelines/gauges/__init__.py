"""Tide gauges: from the files of the services that keep them to one labelled series in UTC and metres."""

from data_pipelines.gauges.reading import read_gauge, read_gauges

__all__ = ["read_gauge", "read_gauges"]
