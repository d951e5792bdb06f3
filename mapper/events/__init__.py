"""Events as arrays, rasters, chip spikes and files, into each other; nothing is clipped or lost unsaid."""

from __future__ import annotations

from mapper.events.arrays import EVENT_DTYPE, SYNONYMS, Events, events_from
from mapper.events.disk import TimeUnit, is_raster, read_events, read_raster, write_events, write_raster
from mapper.events.monitors import (
    MonitoredLayer,
    MonitorEvents,
    events_from_dvs,
    events_from_spikes,
    unwrap_timestamps,
)
from mapper.events.rasters import EventRaster, Raster, events_from_raster, raster_from_events
from mapper.events.spikes import spikes_of
from mapper.events.stream import EventWriter, hot_pixels, without_pixels

__all__ = [
    "EVENT_DTYPE",
    "SYNONYMS",
    "EventRaster",
    "EventWriter",
    "Events",
    "MonitorEvents",
    "MonitoredLayer",
    "Raster",
    "TimeUnit",
    "events_from",
    "events_from_dvs",
    "events_from_raster",
    "events_from_spikes",
    "hot_pixels",
    "is_raster",
    "raster_from_events",
    "read_events",
    "read_raster",
    "spikes_of",
    "unwrap_timestamps",
    "without_pixels",
    "write_events",
    "write_raster",
]
