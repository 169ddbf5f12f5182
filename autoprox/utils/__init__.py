"""Holds the manager of one SRMUDP connection, and nothing else."""
