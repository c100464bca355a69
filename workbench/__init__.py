"""A research workbench for reinforcement and federated learning on one compiled core."""
