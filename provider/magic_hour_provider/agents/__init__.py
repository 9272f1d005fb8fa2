"""Magic Hour for agents of Airflow's common-ai provider: free tools, and one that pays within limits.

Nothing else of the package needs that provider: ``pip install airflow-provider-magic-hour[agents]`` brings it.
"""
