"""What ``dag.test()`` says of itself: it pays each time."""


def test_each_attempt_says_first_that_it_is_a_test(magic_hour_simulator, load_example, monkeypatch, tmp_path, capsys):
    """Each of the five paid tasks of the example, and none twice; run again, all of them pay again."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path))
    teaser = load_example("product_teaser")["dag"]
    for times in (1, 2):
        assert teaser.test().state == "success"
        assert capsys.readouterr().out.count("This attempt is run by a test command of Airflow") == 5
        assert magic_hour_simulator.stats()["creates"]["accepted"] == 5 * times
