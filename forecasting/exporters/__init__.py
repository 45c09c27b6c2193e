"""Forecasts in the forms that other tools read: WeatherBench, OceanBench, and a NetCDF file a start."""

from forecasting.exporters.netcdf import to_netcdf
from forecasting.exporters.oceanbench import to_oceanbench
from forecasting.exporters.weatherbench import to_weatherbench

__all__ = ["to_netcdf", "to_oceanbench", "to_weatherbench"]
