"""The Media tab: a web application in Airflow's API server. Its recovery alone changes anything."""
