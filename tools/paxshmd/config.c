/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <confuse.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../net/loop.h"

/* ---- settings that are whole numbers ---- */

static const struct number {
	const char *name;
	size_t at;
	long least, most;
} numbers[] = {
	{ "locks", offsetof(struct config, locks), 1, TABLE_ROWS_MAX },
	{ "claims", offsetof(struct config, claims), 1, TABLE_ROWS_MAX },
	{ "sessions", offsetof(struct config, sessions), 1, SESSIONS_MAX },
	{ "heartbeat_ms", offsetof(struct config, heartbeat_ms), 1, 60 * 1000 },
	{ "leader_lease_ms", offsetof(struct config, leader_lease_ms), 3, 600 * 1000 },
	{ "host_lease_ms", offsetof(struct config, host_lease_ms), 12, 3600 * 1000 },
	{ "drift_ppm", offsetof(struct config, drift_ppm), 0, 100 * 1000 },
	{ "handover_max", offsetof(struct config, handover_max), 0, 1000 * 1000 },
	{ "handover_ms", offsetof(struct config, handover_ms), 0, 60 * 1000 },
	{ "keep_ms", offsetof(struct config, keep_ms), 0, 24 * 3600 * 1000 },
};

static const char *const words[] = { "cluster", "socket", "state", "loop", "insecure" };

/* ---- one reading ---- */

/* libconfuse calls back without a context, so the reading under way is known here. */
static struct reading {
	struct config *c;
	char *why;
	unsigned number_line[ARRAY_LEN(numbers)], word_line[ARRAY_LEN(words)];
	unsigned id_line, address_line, role_line; /* of the host entry being read; 0: not yet */
	char address[sizeof(((struct config_host *)0)->address_text)];
} * reading;

/* The first thing that is wrong is told; what follows from it is not. Answers -1 for libconfuse. */
static int __attribute__((format(printf, 2, 3))) wrong(unsigned line, const char *format, ...)
{
	va_list arguments;
	int n;

	if (reading->why[0])
		return -1;
	n = line ? snprintf(reading->why, CONFIG_WHY, "%s:%u: ", reading->c->file, line)
		 : snprintf(reading->why, CONFIG_WHY, "%s: ", reading->c->file);
	va_start(arguments, format);
	vsnprintf(reading->why + n, CONFIG_WHY - (size_t)n, format, arguments);
	va_end(arguments);
	return -1;
}

static bool contains(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

/* What the parser itself finds, with what to do about it. */
static void parser_error(cfg_t *cfg, const char *format, va_list arguments)
{
	char what[256];
	const char *remedy = "correct the line; paxshmd.conf(5) describes the file";

	vsnprintf(what, sizeof(what), format, arguments);
	if (contains(what, "no such option"))
		remedy = "correct the name or remove the line; paxshmd.conf(5) lists all settings";
	else if (contains(what, "integer value"))
		remedy = "write a whole number, without a unit";
	else if (contains(what, "boolean value"))
		remedy = "write yes or no";
	else if (contains(what, "duplicate title"))
		remedy = "give each host one entry";
	else if (contains(what, "missing title"))
		remedy = "write host \"NAME\" { … }";
	else if (contains(what, "premature end"))
		remedy = "something before it is not finished: a value, a quote or a brace is missing";
	wrong((unsigned)cfg->line, "%s; %s", what, remedy);
}

static int once(unsigned *line, cfg_t *cfg, cfg_opt_t *opt)
{
	if (*line)
		return wrong((unsigned)cfg->line, "%s was set in line %u already; remove one of the two",
			     cfg_opt_name(opt), *line);
	*line = (unsigned)cfg->line;
	return 0;
}

static int check_number(cfg_t *cfg, cfg_opt_t *opt)
{
	unsigned i = 0;
	long value = cfg_opt_getnint(opt, 0);

	while (strcmp(numbers[i].name, cfg_opt_name(opt)))
		i++;
	if (once(&reading->number_line[i], cfg, opt))
		return -1;
	if (value < numbers[i].least || value > numbers[i].most)
		return wrong((unsigned)cfg->line, "%s = %ld is out of range; choose a number from %ld to %ld",
			     numbers[i].name, value, numbers[i].least, numbers[i].most);
	*(uint32_t *)((char *)reading->c + numbers[i].at) = (uint32_t)value;
	return 0;
}

/* A text that must fit, NUL included. */
static int take_text(unsigned line, const char *name, const char *value, char *ret, size_t cap)
{
	if (!value[0])
		return wrong(line, "%s is empty; give it a value", name);
	if (strlen(value) >= cap)
		return wrong(line, "%s is %zu bytes long; use %zu at most", name, strlen(value), cap - 1);
	for (const char *at = value; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 127)
			return wrong(line, "%s has a control character in it; remove it", name);
	snprintf(ret, cap, "%s", value);
	return 0;
}

static int check_word(cfg_t *cfg, cfg_opt_t *opt)
{
	struct config *c = reading->c;
	const char *name = cfg_opt_name(opt);
	unsigned i = 0, line = (unsigned)cfg->line;

	while (strcmp(words[i], name))
		i++;
	if (once(&reading->word_line[i], cfg, opt))
		return -1;
	if (!strcmp(name, "insecure")) {
		c->insecure = cfg_opt_getnbool(opt, 0) == cfg_true;
		return 0;
	}

	const char *value = cfg_opt_getnstr(opt, 0);
	if (!strcmp(name, "cluster"))
		return take_text(line, name, value, c->cluster, sizeof(c->cluster));
	if (!strcmp(name, "socket"))
		return take_text(line, name, value, c->socket, sizeof(c->socket));
	if (!strcmp(name, "state"))
		return take_text(line, name, value, c->state, sizeof(c->state));
	if (config_engine(value, &c->engine))
		return wrong(line, "loop = \"%s\" is not known; choose auto, io_uring or epoll", value);
	return 0;
}

/* ---- hosts ---- */

static struct config_host *current_host(void)
{
	return &reading->c->hosts[reading->c->n_hosts];
}

static int check_host_start(cfg_t *cfg)
{
	if (reading->c->n_hosts == CONFIG_HOSTS)
		return wrong((unsigned)cfg->line, "more than %u hosts; remove some", CONFIG_HOSTS);
	return 0;
}

static int check_host_id(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct config *c = reading->c;
	long id = cfg_opt_getnint(opt, 0);

	if (check_host_start(cfg) || once(&reading->id_line, cfg, opt))
		return -1;
	if (id < 1 || id >= (long)HOSTS_MAX)
		return wrong((unsigned)cfg->line, "host \"%s\": id %ld is out of range; choose one from 1 to %u",
			     cfg_title(cfg), id, HOSTS_MAX - 1);
	for (unsigned i = 0; i < c->n_hosts; i++)
		if (c->hosts[i].id == id)
			return wrong((unsigned)cfg->line,
				     "host \"%s\": id %ld is already host \"%s\"'s; give each host its own id from 1 to %u",
				     cfg_title(cfg), id, c->hosts[i].name, HOSTS_MAX - 1);
	current_host()->id = (uint16_t)id;
	return 0;
}

static int check_host_role(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *value = cfg_opt_getnstr(opt, 0);

	if (check_host_start(cfg) || once(&reading->role_line, cfg, opt))
		return -1;
	if (!strcmp(value, "voter"))
		current_host()->role = HOST_VOTER;
	else if (!strcmp(value, "observer"))
		current_host()->role = HOST_OBSERVER;
	else
		return wrong((unsigned)cfg->line, "host \"%s\": role = \"%s\" is not known; choose voter or observer",
			     cfg_title(cfg), value);
	return 0;
}

static int check_host_address(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *value = cfg_opt_getnstr(opt, 0);

	if (check_host_start(cfg) || once(&reading->address_line, cfg, opt))
		return -1;
	current_host()->line = (uint32_t)cfg->line;
	return take_text((unsigned)cfg->line, "address", value, current_host()->address_text,
			 sizeof(current_host()->address_text));
}

/* "HOST:PORT" or "[IPv6]:PORT". */
static int resolve_address(struct config_host *h)
{
	char host[sizeof(h->address_text)], *port, *name = host;
	struct addrinfo *found = NULL, hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	char *end;
	int rc;

	snprintf(host, sizeof(host), "%s", h->address_text);
	port = strrchr(host, ':');
	if (!port || port == host || !port[1])
		return wrong(h->line, "host \"%s\": address \"%s\" has no port; write it as HOST:PORT, like 192.0.2.7:7000",
			     h->name, h->address_text);
	*port++ = 0;
	if (*name == '[' && port[-2] == ']') {
		port[-2] = 0;
		name++;
	} else if (strchr(name, ':')) {
		return wrong(h->line, "host \"%s\": address \"%s\" is not clear; write an IPv6 address as [ADDRESS]:PORT",
			     h->name, h->address_text);
	}
	unsigned long number = strtoul(port, &end, 10);
	if (*end || port[0] < '0' || port[0] > '9' || number < 1 || number > 65535)
		return wrong(h->line, "host \"%s\": port \"%s\" is no port; choose one from 1 to 65535", h->name, port);

	rc = getaddrinfo(name, port, &hints, &found);
	if (rc)
		return wrong(h->line, "host \"%s\": \"%s\" is not found (%s); correct the name, or write its IP address",
			     h->name, name, gai_strerror(rc));
	memcpy(&h->address, found->ai_addr, found->ai_addrlen);
	h->address_len = (uint32_t)found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int check_host_end(cfg_t *cfg, cfg_opt_t *opt)
{
	struct config *c = reading->c;
	struct config_host *h = current_host();
	unsigned line = (unsigned)cfg->line;
	const char *title = cfg_title(cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1));

	if (check_host_start(cfg) || take_text(line, "the host's name", title, h->name, sizeof(h->name)))
		return -1;
	if (!reading->id_line)
		return wrong(line, "host \"%s\" has no id; add id = N, its own number from 1 to %u", title, HOSTS_MAX - 1);
	if (!reading->address_line)
		return wrong(line, "host \"%s\" has no address; add address = \"HOST:PORT\"", title);
	if (!h->role)
		h->role = HOST_VOTER;
	if (resolve_address(h))
		return -1;
	for (unsigned i = 0; i < c->n_hosts; i++)
		if (c->hosts[i].address_len == h->address_len &&
		    !memcmp(&c->hosts[i].address, &h->address, h->address_len))
			return wrong(h->line,
				     "host \"%s\": address %s is already host \"%s\"'s; give each host its own address or port",
				     h->name, h->address_text, c->hosts[i].name);
	c->n_hosts++;
	reading->id_line = reading->address_line = reading->role_line = 0;
	return 0;
}

/* ---- what several settings must be to each other ---- */

static unsigned line_of_number(const char *name)
{
	unsigned i = 0;

	while (strcmp(numbers[i].name, name))
		i++;
	return reading->number_line[i];
}

static bool is_loopback(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
	return address->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int check_hosts(void)
{
	const struct config *c = reading->c;
	unsigned voters = 0, last_line = 0;

	if (!c->n_hosts)
		return wrong(0, "no host stands in it; add host \"NAME\" { id = 1 address = \"HOST:PORT\" } for each");
	for (unsigned i = 0; i < c->n_hosts; i++)
		if (c->hosts[i].role == HOST_VOTER) {
			voters++;
			last_line = c->hosts[i].line;
		}
	if (!voters)
		return wrong(0, "no host is a voter; give 1, 3, 5 or 7 hosts role = voter");
	if (voters > PAXOS_VOTERS_MAX || voters % 2 == 0)
		return wrong(last_line, "%u hosts are voters; make it 1, 3, 5 or 7, and the others role = observer", voters);
	for (unsigned i = 0; i < c->n_hosts && !c->insecure; i++)
		if (!is_loopback(&c->hosts[i].address))
			return wrong(c->hosts[i].line,
				     "host \"%s\": %s is reached over a network, and links are not encrypted yet: whoever can "
				     "reach it could take any lock; use loopback addresses, or on a network that you trust set "
				     "insecure = yes",
				     c->hosts[i].name, c->hosts[i].address_text);
	return 0;
}

static int check_timings(void)
{
	const struct config *c = reading->c;
	unsigned leader = line_of_number("leader_lease_ms"), lease = line_of_number("host_lease_ms");

	if (c->leader_lease_ms < 3ull * c->heartbeat_ms)
		return wrong(leader ? leader : line_of_number("heartbeat_ms"),
			     "leader_lease_ms = %u is less than three heartbeats of %u ms, so a living leader would be deposed; "
			     "make it %u or more",
			     c->leader_lease_ms, c->heartbeat_ms, 3 * c->heartbeat_ms);
	if (c->host_lease_ms < 4ull * c->leader_lease_ms)
		return wrong(lease ? lease : leader,
			     "host_lease_ms = %u is less than four leader leases of %u ms, so hosts would be suspended in every "
			     "change of leader; make it %u or more",
			     c->host_lease_ms, c->leader_lease_ms, 4 * c->leader_lease_ms);
	return 0;
}

/* Is `machine`, perhaps with its domain, the host `name`? */
static bool is_called(const char *machine, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(machine, name, len) && (!machine[len] || machine[len] == '.');
}

static int find_self(const char *host)
{
	struct config *c = reading->c;
	char machine[256] = "", names[512] = "";
	size_t len = 0;

	if (!host)
		gethostname(machine, sizeof(machine) - 1);
	for (c->self = 0; c->self < c->n_hosts; c->self++) {
		const char *name = c->hosts[c->self].name;

		if (host ? !strcmp(host, name) : is_called(machine, name))
			return 0;
		if (len < sizeof(names) - NAME_BYTES - 8)
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", name);
		else if (names[len - 1] != '.')
			len += (size_t)snprintf(names + len, sizeof(names) - len, ", ...");
	}
	return wrong(0, "this host, \"%s\", does not stand in it (it has: %s); add it, or say with --host NAME which one it is",
		     host ? host : machine, names);
}

/* ---- the whole ---- */

static void set_defaults(struct config *c)
{
	memset(c, 0, sizeof(*c));
	c->size = sizeof(*c);
	c->engine = LOOP_AUTO;
	c->locks = 65536;
	c->heartbeat_ms = 20;
	c->leader_lease_ms = 200;
	c->host_lease_ms = 10000;
	c->drift_ppm = 1000;
	c->handover_max = 16;
	c->handover_ms = 10;
	c->keep_ms = 30000;
}

static cfg_t *new_parser(void)
{
	static cfg_opt_t host[] = {
		CFG_INT("id", 0, CFGF_NODEFAULT),
		CFG_STR("address", 0, CFGF_NODEFAULT),
		CFG_STR("role", 0, CFGF_NODEFAULT),
		CFG_END(),
	};
	static cfg_opt_t settings[] = {
		CFG_STR("cluster", 0, CFGF_NODEFAULT),
		CFG_STR("socket", 0, CFGF_NODEFAULT),
		CFG_STR("state", 0, CFGF_NODEFAULT),
		CFG_STR("loop", 0, CFGF_NODEFAULT),
		CFG_BOOL("insecure", cfg_false, CFGF_NODEFAULT),
		CFG_INT("locks", 0, CFGF_NODEFAULT),
		CFG_INT("claims", 0, CFGF_NODEFAULT),
		CFG_INT("sessions", 0, CFGF_NODEFAULT),
		CFG_INT("heartbeat_ms", 0, CFGF_NODEFAULT),
		CFG_INT("leader_lease_ms", 0, CFGF_NODEFAULT),
		CFG_INT("host_lease_ms", 0, CFGF_NODEFAULT),
		CFG_INT("drift_ppm", 0, CFGF_NODEFAULT),
		CFG_INT("handover_max", 0, CFGF_NODEFAULT),
		CFG_INT("handover_ms", 0, CFGF_NODEFAULT),
		CFG_INT("keep_ms", 0, CFGF_NODEFAULT),
		CFG_SEC("host", host, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_END(),
	};
	cfg_t *cfg = cfg_init(settings, CFGF_NONE);

	if (!cfg)
		return NULL;
	cfg_set_error_function(cfg, parser_error);
	for (unsigned i = 0; i < ARRAY_LEN(numbers); i++)
		cfg_set_validate_func(cfg, numbers[i].name, check_number);
	for (unsigned i = 0; i < ARRAY_LEN(words); i++)
		cfg_set_validate_func(cfg, words[i], check_word);
	cfg_set_validate_func(cfg, "host|id", check_host_id);
	cfg_set_validate_func(cfg, "host|address", check_host_address);
	cfg_set_validate_func(cfg, "host|role", check_host_role);
	cfg_set_validate_func(cfg, "host", check_host_end);
	return cfg;
}

/* The parser ends the process when it cannot read; so this is asked first. */
static int check_readable(const char *path)
{
	struct stat st;
	FILE *file = fopen(path, "re");

	if (!file)
		return wrong(0, "cannot be read: %s; give the configuration's path with --config", strerror(errno));
	if (!fstat(fileno(file), &st) && S_ISDIR(st.st_mode))
		wrong(0, "is a directory; give the configuration's path with --config");
	fclose(file);
	return reading->why[0] ? -1 : 0;
}

int config_read(struct config *ret, const char *path, const char *host, char *why)
{
	struct reading now = { .c = ret, .why = why };
	cfg_t *cfg;

	set_defaults(ret);
	snprintf(ret->file, sizeof(ret->file), "%s", path);
	why[0] = 0;
	reading = &now;
	if (!check_readable(path)) {
		cfg = new_parser();
		if (!cfg || cfg_parse(cfg, path) != CFG_SUCCESS)
			wrong(0, "is not understood; paxshmd.conf(5) describes the file");
		else if (!ret->cluster[0])
			wrong(0, "the cluster has no name; add cluster = \"NAME\"");
		else if (!check_hosts() && !check_timings())
			find_self(host);
		cfg_free(cfg);
	}
	reading = NULL;
	return why[0] ? -EINVAL : 0;
}

void config_single(struct config *ret)
{
	set_defaults(ret);
	ret->single = 1;
	ret->n_hosts = 1;
	ret->hosts[0].id = 1;
	ret->hosts[0].role = HOST_VOTER;
	snprintf(ret->cluster, sizeof(ret->cluster), "single");
	gethostname(ret->hosts[0].name, sizeof(ret->hosts[0].name) - 1);
	if (!ret->hosts[0].name[0])
		snprintf(ret->hosts[0].name, sizeof(ret->hosts[0].name), "localhost");
}

static int place(char *ret, size_t cap, const char *setting, const char *dir, const char *rest, char *why)
{
	if (ret[0])
		return 0;
	if (!dir || !dir[0]) {
		snprintf(why, CONFIG_WHY, "no place is known for %s; give --%s", setting, setting);
		return -ENOENT;
	}
	if ((size_t)snprintf(ret, cap, "%s%s", dir, rest) >= cap) {
		snprintf(why, CONFIG_WHY, "%s%s is too long for %s (%zu bytes at most); give --%s", dir, rest, setting,
			 cap - 1, setting);
		ret[0] = 0;
		return -ENAMETOOLONG;
	}
	return 0;
}

int config_places(struct config *c, char *why)
{
	const char *home = getenv("HOME"), *state = getenv("XDG_STATE_HOME");
	bool root = geteuid() == 0;
	int rc = place(c->socket, sizeof(c->socket), "socket", root ? "/run" : getenv("XDG_RUNTIME_DIR"),
		       "/paxshm/agent.sock", why);

	if (rc || c->single) /* a cluster of one leaves no state behind */
		return rc;
	if (root)
		return place(c->state, sizeof(c->state), "state", "/var/lib", "/paxshm", why);
	if (state && state[0])
		return place(c->state, sizeof(c->state), "state", state, "/paxshm", why);
	return place(c->state, sizeof(c->state), "state", home, "/.local/state/paxshm", why);
}

int config_engine(const char *word, uint8_t *ret)
{
	if (!strcmp(word, "auto"))
		*ret = LOOP_AUTO;
	else if (!strcmp(word, "io_uring"))
		*ret = LOOP_URING;
	else if (!strcmp(word, "epoll"))
		*ret = LOOP_EPOLL;
	else
		return -EINVAL;
	return 0;
}

struct agent_limits config_limits(const struct config *c)
{
	struct agent_limits limits = agent_limits_for(c->locks);

	if (c->claims)
		limits.claims = c->claims;
	if (c->sessions)
		limits.sessions = c->sessions;
	return limits;
}

int because(char *why, int rc, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, CONFIG_WHY, format, arguments);
	va_end(arguments);
	return rc;
}

/* ---- reading again ---- */

static const struct config_host *host_of(const struct config *c, uint16_t id)
{
	for (unsigned i = 0; i < c->n_hosts; i++)
		if (c->hosts[i].id == id)
			return &c->hosts[i];
	return NULL;
}

/* The same voters, whatever their addresses. */
static bool same_voters(const struct config *a, const struct config *b)
{
	for (unsigned i = 0; i < a->n_hosts; i++) {
		const struct config_host *other = host_of(b, a->hosts[i].id);

		if (a->hosts[i].role == HOST_VOTER && !(other && other->role == HOST_VOTER))
			return false;
	}
	return true;
}

const char *config_fixed(const struct config *now, const struct config *next)
{
	const struct config_host *self = &now->hosts[now->self], *then = &next->hosts[next->self];
	const struct {
		bool same;
		const char *name;
	} fixed[] = {
		{ !strcmp(now->cluster, next->cluster), "cluster" },
		{ !strcmp(now->socket, next->socket), "socket" },
		{ !strcmp(now->state, next->state), "state" },
		{ now->locks == next->locks, "locks" },
		{ now->claims == next->claims, "claims" },
		{ now->sessions == next->sessions, "sessions" },
		{ now->leader_lease_ms == next->leader_lease_ms, "leader_lease_ms" },
		{ now->host_lease_ms == next->host_lease_ms, "host_lease_ms" },
		{ now->drift_ppm == next->drift_ppm, "drift_ppm" },
		{ self->id == then->id && self->role == then->role && !strcmp(self->name, then->name), "this host's name, id or role" },
		{ self->address_len == then->address_len && !memcmp(&self->address, &then->address, self->address_len), "this host's address" },
		{ same_voters(now, next) && same_voters(next, now), "the list of voters" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(fixed); i++)
		if (!fixed[i].same)
			return fixed[i].name;
	return NULL;
}
