from workbench.recording.settings import flat_scalars


def test_settings_are_named_by_their_path():
    assert flat_scalars({"a": {"b": 1, "c": {"d": True}}, "e": 0.5}) == {
        "a.b": 1,
        "a.c.d": True,
        "e": 0.5,
    }


def test_lists_become_text_and_nothing_is_left_out():
    assert flat_scalars({"a": None, "b": {"c": [8, 8]}}) == {"b.c": "[8, 8]"}
