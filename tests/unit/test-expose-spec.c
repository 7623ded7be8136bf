/* SPDX-License-Identifier: MIT */
/* What `vzfwd expose` takes. */
#include "config.h"

#include "expose/spec.h"
#include "tests/tap.h"

/* One in one line: "NAME AT NETWORK TARGET". */
static char *describe(const struct expose_spec *spec)
{
	char at[ADDRESS_TEXT_MAX];
	_cleanup_free_ char *target = expose_spec_target(spec);

	return xasprintf("%s %s %s %s", spec->name != NULL ? spec->name : "-",
			 spec->network == NETWORK_UNIX ? spec->at_path
						       : address_format(&spec->at, at),
			 network_name(spec->network), target);
}

#define LABEL "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define LONG_PATH "/" LABEL LABEL

static const struct {
	const char *text, *want; /* NULL: refused */
} cases[] = {
	{ "80", "- localhost:80 tcp localhost:80" },
	{ "80/tcp", "- localhost:80 tcp localhost:80" },
	{ "53/udp", "- localhost:53 udp localhost:53/udp" },
	{ "80:8080", "- localhost:80 tcp localhost:8080" },
	{ "80:localhost:8080", "- localhost:80 tcp localhost:8080" },
	{ "80:10.0.0.5:8080", "- localhost:80 tcp 10.0.0.5:8080" },
	{ "80:[fd00::5]:8080", "- localhost:80 tcp [fd00::5]:8080" },
	{ "53:10.0.0.5:5353/udp", "- localhost:53 udp 10.0.0.5:5353/udp" },
	{ "db:5432", "db localhost:5432 tcp localhost:5432" },
	{ "db:5432:127.0.0.1:5433", "db localhost:5432 tcp 127.0.0.1:5433" },
	{ "db.example.com:5432", "db.example.com localhost:5432 tcp localhost:5432" },
	{ "DB-1:5432", "DB-1 localhost:5432 tcp localhost:5432" },
	{ "1db:5432", "1db localhost:5432 tcp localhost:5432" },
	{ LABEL ".x:80", LABEL ".x localhost:80 tcp localhost:80" },
	{ "10.0.0.1:80", "- 10.0.0.1:80 tcp localhost:80" },
	{ "10.0.0.1:80:8080", "- 10.0.0.1:80 tcp localhost:8080" },
	{ "[fd00::1]:80:10.0.0.5:8080", "- [fd00::1]:80 tcp 10.0.0.5:8080" },
	{ "db=10.0.0.1:80", "db 10.0.0.1:80 tcp localhost:80" },
	{ "db=[fd00::1]:80:pod:db:80", "db [fd00::1]:80 tcp pod:db:80" },
	{ "db=10.0.0.1:53:8.8.8.8:53/udp", "db 10.0.0.1:53 udp 8.8.8.8:53/udp" },
	{ "5432:pod:db:5432", "- localhost:5432 tcp pod:db:5432" },
	{ "db:5432:pod:db:10.9.0.1:5432", "db localhost:5432 tcp pod:db:10.9.0.1:5432" },
	{ "5432:pod:db:[fd00::1]:5432", "- localhost:5432 tcp pod:db:[fd00::1]:5432" },
	{ "53:pod:dns:53/udp", "- localhost:53 udp pod:dns:53/udp" },
	{ "80:unix:/run/x.sock", "- localhost:80 tcp unix:/run/x.sock" },
	{ "web:80:unix:/run/x:y/udp", "web localhost:80 tcp unix:/run/x:y/udp" },
	{ "unix:/run/x.sock:80", "- /run/x.sock unix localhost:80" },
	{ "unix:/run/x.sock:10.0.0.5:80", "- /run/x.sock unix 10.0.0.5:80" },
	{ "unix:/run/x.sock:unix:/run/y.sock", "- /run/x.sock unix unix:/run/y.sock" },
	{ "unix:/run/x.sock:pod:db:5432", "- /run/x.sock unix pod:db:5432" },
	{ "", NULL },
	{ "0", NULL },
	{ "65536", NULL },
	{ "-1", NULL },
	{ "80:", NULL },
	{ ":80", NULL },
	{ "80:0", NULL },
	{ "80::80", NULL },
	{ "80:80:80", NULL },
	{ "80:example.com:80", NULL },
	{ "80:10.0.0.5:80:80", NULL },
	{ "80:fd00::5:80", NULL },
	{ "80/sctp", NULL },
	{ "80/", NULL },
	{ "80/udp/udp", NULL },
	{ "db", NULL },
	{ "db:", NULL },
	{ "db:x", NULL },
	{ "-db:80", NULL },
	{ "db-:80", NULL },
	{ "d b:80", NULL },
	{ "db..x:80", NULL },
	{ ".db:80", NULL },
	{ "db.:80", NULL },
	{ "d_b:80", NULL },
	{ "d\xc3\xa4:80", NULL },
	{ LABEL "1:80", NULL },
	{ "127.1:80", NULL },
	{ "db.5:80", NULL },
	{ "localhost:80", NULL },
	{ "*:80", NULL },
	{ "=10.0.0.1:80", NULL },
	{ "db=:80", NULL },
	{ "db=x:80", NULL },
	{ "db=localhost:80", NULL },
	{ "localhost=10.0.0.1:80", NULL },
	{ "db=10.0.0.1", NULL },
	{ "db=10.0.0.1=10.0.0.2:80", NULL },
	{ "[fd00::1:80", NULL },
	{ "fd00::1]:80", NULL },
	{ "80:pod:", NULL },
	{ "80:pod:db", NULL },
	{ "80:pod:db:", NULL },
	{ "80:pod::80", NULL },
	{ "80:pod:../db:80", NULL },
	{ "80:pod:db:x:80", NULL },
	{ "80:unix:", NULL },
	{ "80:unix:x.sock", NULL },
	{ "80:unix:" LONG_PATH, NULL },
	{ "unix:/run/x.sock", NULL },
	{ "unix:/run/x.sock:", NULL },
	{ "unix:x.sock:80", NULL },
	{ "unix::80", NULL },
	{ "unix:/run/x.sock:80/udp", NULL },
};

static void test_parse(void)
{
	struct expose_spec spec;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *text = cases[i].text;
		_cleanup_free_ char *got = NULL;

		memset(&err, 0, sizeof(err));
		if (expose_spec_parse(&spec, text, &err) == 0)
			got = describe(&spec);
		else
			ok(err.reason == REASON_INVALID && spec.name == NULL &&
				   spec.at_path == NULL && spec.path == NULL && spec.pod == NULL,
			   "\"%s\": %s", text, err.message);
		is_str(got, cases[i].want, "\"%s\"", text);
		expose_spec_clear(&spec);
	}
}

static void test_same_place(void)
{
	static const struct {
		const char *a, *b;
		bool same;
	} pairs[] = {
		{ "80", "80:8080", true },
		{ "80", "db:80:pod:db:80", true },
		{ "80", "192.168.127.254:80", true },
		{ "80", "80/udp", false },
		{ "80", "81", false },
		{ "80", "a=192.168.127.253:80", false },
		{ "[fd00::1]:80", "a=[fd00::1]:80", true },
		{ "[fd00::1]:80", "[fd00::2]:80", false },
		{ "unix:/a:80", "unix:/a:81", true },
		{ "unix:/a:80", "unix:/b:80", false },
		{ "unix:/a:80", "80", false },
	};
	struct address alias = { 0 };
	struct expose_spec a, b;

	address_parse_host(&alias, "192.168.127.254", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (expose_spec_parse(&a, pairs[i].a, NULL) < 0 ||
		    expose_spec_parse(&b, pairs[i].b, NULL) < 0)
			abort();
		is_int(expose_spec_same_place(&a, &b, &alias), pairs[i].same, "%s and %s",
		       pairs[i].a, pairs[i].b);
		is_int(expose_spec_same_place(&b, &a, &alias), pairs[i].same, "%s and %s",
		       pairs[i].b, pairs[i].a);
		expose_spec_clear(&a);
		expose_spec_clear(&b);
	}
}

int main(void)
{
	test_parse();
	test_same_place();
	return done_testing();
}
