"""The faults that the simulator can inject, and how they are asked for."""
