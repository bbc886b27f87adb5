"""Readers of latency tables and networks that others published, and of our own CSV."""

from latency_model.readers.csv_table import csv_unit, read_csv_table, write_csv_table
from latency_model.readers.proxyless_config import read_proxyless_config
from latency_model.readers.yaml_table import read_yaml_table

__all__ = ["csv_unit", "read_csv_table", "read_proxyless_config", "read_yaml_table", "write_csv_table"]
