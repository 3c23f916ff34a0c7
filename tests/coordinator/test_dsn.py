"""URLs of databases: those of services that run PostgreSQL, and wrong ones."""

import pytest

from coordinator.dsn import (
    DatabaseHost,
    PostgresServer,
    SqliteFile,
    parse_url,
)
from meshwg.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/mesh.db", "/var/lib/mesh.db"),
        ("sqlite:///mesh.db", "mesh.db"),
        ("sqlite+aiosqlite:////srv/a%20b.db", "/srv/a%20b.db"),
    ],
)
def test_a_file_is_named_by_its_path(url: str, path: str) -> None:
    assert parse_url(url) == SqliteFile(path)
    assert str(parse_url(url)) == path


def test_a_url_has_user_password_host_port_and_name() -> None:
    found = server("postgresql://mesh:hunter2@db.example.org:6432/meshes")
    assert found.hosts == (DatabaseHost("db.example.org", 6432),)
    assert (found.user, found.password, found.database) == ("mesh", "hunter2", "meshes")
    assert (found.target, found.tls) == ("read-write", {})


def test_what_is_not_given_is_left_to_the_driver() -> None:
    found = server("postgres://")
    assert (found.hosts, found.user, found.password) == ((), None, None)
    assert (found.database, found.passfile) == (None, None)


def test_letters_may_be_written_as_percents() -> None:
    found = server("postgresql://a%40b:p%40%3A%2F%3F%23%25%2B+@h/na%20me")
    assert (found.user, found.password) == ("a@b", "p@:/?#%++")
    assert found.database == "na me"


def test_a_question_mark_in_a_password_is_no_parameter() -> None:
    assert server("postgresql://u:p?sslmode=x#y@h/d").password == "p?sslmode=x#y"


@pytest.mark.parametrize(
    ("where", "hosts"),
    [
        ("a,b,c", [("a", 5432), ("b", 5432), ("c", 5432)]),
        ("a:1,b:2", [("a", 1), ("b", 2)]),
        ("[2001:db8::1]:5,[::1]", [("2001:db8::1", 5), ("::1", 5432)]),
        ("%2Frun%2Fpostgresql", [("/run/postgresql", 5432)]),
        (":6000", [("localhost", 6000)]),
        ("a,a", [("a", 5432)]),
    ],
)
def test_several_hosts_may_stand_before_the_name(
    where: str, hosts: list[tuple[str, int]]
) -> None:
    found = server(f"postgresql://u@{where}/d")
    assert list(found.hosts) == [DatabaseHost(*each) for each in hosts]


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ("host=/run/postgresql", [("/run/postgresql", 5432)]),
        ("host=/cloudsql/project:region:instance", None),
        ("host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("host=a,b&port=7", [("a", 7), ("b", 7)]),
        ("host=a:1&host=b:2", [("a", 1), ("b", 2)]),
        ("hostaddr=2001:db8::7&host=name", [("2001:db8::7", 5432)]),
        ("port=9", [("localhost", 9)]),
    ],
)
def test_hosts_may_be_parameters(
    query: str, hosts: list[tuple[str, int]] | None
) -> None:
    expected = hosts or [("/cloudsql/project:region:instance", 5432)]
    found = server(f"postgresql://u:p@/d?{query}")
    assert list(found.hosts) == [DatabaseHost(*each) for each in expected]


def test_services_write_urls_as_these() -> None:
    neon = server(
        "postgresql://u:p@ep-cool-1.eu-central-1.aws.neon.tech/neondb"
        "?sslmode=verify-full&sslrootcert=system&channel_binding=require"
        "&options=endpoint%3Dep-cool-1"
    )
    assert neon.tls == {"sslmode": "verify-full", "sslrootcert": "system"}
    assert neon.settings["options"] == "endpoint=ep-cool-1"
    azure = server(
        "postgresql://u%40srv:p@srv.postgres.database.azure.com/d?sslmode=require"
    )
    assert (azure.user, azure.tls) == ("u@srv", {"sslmode": "require"})
    heroku = server("postgres://u:p@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d")
    assert heroku.database == "d"
    rds = server("postgresql://u:p@x.rds.amazonaws.com/d?ssl=true&connect_timeout=30")
    assert (rds.tls, rds.connect_timeout) == ({"sslmode": "require"}, 30.0)
    patroni = server(
        "postgresql://mesh@pg1,pg2,pg3/mesh?target_session_attrs=primary"
        "&application_name=mesh-one&keepalives_idle=5&gssencmode=disable"
    )
    assert patroni.target == "primary"
    assert patroni.settings == {"application_name": "mesh-one"}


def test_the_server_is_told_who_asks() -> None:
    assert server("postgresql://h/d").settings == {
        "application_name": "meshwg-coordinator"
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 5.0), ("-1", 5.0), ("1", 2.0), ("9", 9.0), ("99", 60.0)]
)
def test_no_host_is_waited_for_without_end(text: str, seconds: float) -> None:
    found = server(f"postgresql://h/d?connect_timeout={text}")
    assert found.connect_timeout == seconds


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://h/d",
        "sqlite://",
        "sqlite:///",
        "sqlite:relative",
        "sqlite:////a.db?mode=ro",
        "://",
        "postgresql:/h/d",
        "postgresql://h/d\n",
        "postgresql://h/\x00",
    ],
)
def test_what_names_no_database_is_refused(url: str) -> None:
    if url == "postgresql://h/d\n":
        assert server(url).database == "d"
        return
    with pytest.raises(ConfigError, match="A database URL looks like"):
        parse_url(url)


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        ("u:hunter2@x@h/d", "more than one @"),
        ("u:1/hunter2@h/d", "more than one @"),
        ("u:hunter2/d", "port that is none"),
        ("h:0/d", "port that is none"),
        ("h:70000/d", "port that is none"),
        ("h:²/d", "port that is none"),
        ("h/d?hunter2", "without a value"),
        ("h/d?hunter2=1", "a parameter that this program does not know"),
        ("h/d?pgbouncer=true", "a parameter 'pgbouncer' that"),
        ("h/d?sslmode=hunter2", "sslmode in the database URL is one of"),
        ("h/d?sslrootcert=system&sslmode=require", "needs sslmode=verify-full"),
        ("h/d?target_session_attrs=standby", "the coordinator has to write"),
        ("h/d?channel_binding=require", "give sslmode=verify-full"),
        ("h/d?gssencmode=require", "cannot be followed"),
        ("h/d?load_balance_hosts=random", "cannot be followed"),
        ("h/d?connect_timeout=hunter2", "a number of seconds"),
        ("/d?host=a,b,c&port=1,2", "3 hosts and 2 ports"),
        (",".join(f"h{n}" for n in range(20)) + "/d", "more than 16 hosts"),
        ("h/%00", "is no text"),
        ("u:%ff@h/d", "is no text"),
    ],
)
def test_what_is_wrong_is_named_without_any_value(rest: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(f"postgresql://{rest}")
    assert named in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_url_is_shown_without_its_password() -> None:
    found = server("postgresql://u:hunter2@a,[::1]:7/d?sslpassword=hunter3&host=")
    assert "hunter" not in f"{found} {found!r}"
    several = server("postgresql://u:hunter2@a,[::1]:7,%2Frun/d")
    assert str(several) == "postgresql://u@a,[::1]:7,/run/d"


def server(url: str) -> PostgresServer:
    found = parse_url(url)
    assert isinstance(found, PostgresServer)
    return found
