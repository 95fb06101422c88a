/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../shm/segment.h"
#include "../../shm/sys.h"
#include "doorman.h"
#include "handover.h"
#include "log.h"
#include "premises.h"
#include "pulse.h"

#define DEATHS_MAX 5u /* within … */
#define DEATHS_NS (10 * NS_PER_S)
#define SPARE_FILES 16u
#define STOP_NS (2 * NS_PER_S)      /* the agent's time to end when told to */
#define HANDOVER_SEND_S 5           /* an agent that does not read for so long is killed */
#define LIFE_LOOK_MS 50             /* how often to look whether an older life is over … */
#define LIFE_GRACE_NS NS_PER_S      /* who is just ending may do so in peace */
#define LIFE_SAY_NS (10 * NS_PER_S) /* … and to say that it is not */
#define PAUSE_MAX_S 30u             /* between lives that end in crashes */

enum { PRIVATE,
       TABLES,
       ARENA,
       SEGMENTS };

struct kept { /* the descriptors of one session */
	bool used, welcomed;
	int rings, socket;          /* socket -1: closed */
	int pidfd[HANDOVER_PIDFDS]; /* -1: none */
	uint32_t pid, uid;
};

struct keeper {
	struct config config_now; /* what `config` points to */
	const struct config *config;
	keeper_reread *reread;
	void *reread_context;
	char exe[PATH_MAX]; /* by path, so that a replaced binary is what starts next */
	int lock_fd, life_fd, listen_fd, tcp_fd, signal_fd, config_fd;
	int segment[SEGMENTS];
	uint64_t nonce;   /* of the memory, and before there is one of the last that was here */
	uint64_t heir_of; /* the same, when every process of that life is gone; else 0 */
	bool founding;
	unsigned lives;

	int control; /* to the agent; -1: none runs */
	pid_t agent;
	int agent_pidfd;
	bool serves, told_ready;
	struct pulse pulse;
	uint64_t death_ns[DEATHS_MAX];
	unsigned deaths;

	bool stop, hangup;
	struct kept kept[SESSIONS_MAX + 1];
};

/* ---- waiting for an older life to end ---- */

static void take_signals(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (read(k->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			k->hangup = true;
		} else if (!k->stop) {
			k->stop = true;
			log_line(LOG_NOTICE, "event=keeper.stopping signal=%s", strsignal((int)info.ssi_signo));
		}
	}
}

/* Sleeps, but for signals. */
static void pause_ms(struct keeper *k, int ms)
{
	struct pollfd p = { .fd = k->signal_fd, .events = POLLIN };

	poll(&p, 1, ms);
	take_signals(k);
}

static void say_who_lives(struct keeper *k, const char *what)
{
	char pids[128];
	unsigned n = premises_life_holders(k->lock_fd, pids, sizeof(pids));

	log_line(LOG_WARNING,
		 "event=life.waiting processes=%u pids=%s text=\"these processes still live by the memory of an earlier paxshmd and may "
		 "believe that they own locks: %s\"",
		 n, pids[0] ? pids : "unknown", what);
}

/* Begins to live by a new memory: 0; -ECANCELED: told to stop. Whoever lives by an older one is waited for: a
 * moment, for it may just be ending; after that their lease ends what they own, and the cluster takes us up
 * when it has. A memory that founds knows of no such lease: then all of them must end first. */
static int begin_life(struct keeper *k, bool founding, char *why)
{
	uint64_t begin = sys_now_ns(), say_at = begin + LIFE_GRACE_NS;
	int rc;

	while ((rc = premises_claim_life(k->lock_fd)) == -EAGAIN && !k->stop) {
		if (sys_now_ns() >= say_at) {
			if (!founding)
				break;
			say_at = sys_now_ns() + LIFE_SAY_NS;
			say_who_lives(k, "they must end first");
			sd_notify(0, "STATUS=waiting for processes of an earlier life to end");
		}
		pause_ms(k, LIFE_LOOK_MS);
	}
	if (k->stop)
		return -ECANCELED;
	if (rc == -EAGAIN)
		say_who_lives(k, "this host serves again when their lease has ended");
	else if (rc)
		return because(why, rc, "%s.lock: cannot be locked: %s", k->config->socket, strerror(-rc));
	k->heir_of = rc ? 0 : k->nonce;
	rc = k->life_fd = premises_begin_life(k->lock_fd, why);
	return rc < 0 ? rc : 0;
}

/* ---- memory ---- */

static int make_segment(int *ret, const char *name, uint64_t size, const char *settings, char *why)
{
	struct segment s = SEGMENT_NONE;
	int rc = segment_create(&s, name, align_up(size, 4096));

	if (rc)
		return because(why, rc, "%llu bytes of memory for the %s are not to be had: %s; lower %s, or give this machine more memory",
			       (unsigned long long)size, name, strerror(-rc), settings);
	munmap(s.at, s.size); /* the keeper reads none of it */
	*ret = s.fd;
	return 0;
}

static int make_memory(struct keeper *k, char *why)
{
	struct agent_limits limits = config_limits(k->config);
	int rc = make_segment(&k->segment[TABLES], "tables", agent_tables_size(&limits), "locks", why);

	if (!rc)
		rc = make_segment(&k->segment[PRIVATE], "agent", agent_private_size(&limits), "locks, claims or sessions", why);
	if (!rc)
		rc = make_segment(&k->segment[ARENA], "arena", agent_arena_size(&limits), "claims or sessions", why);
	if (rc)
		return rc;
	do
		rc = sys_random(&k->nonce, sizeof(k->nonce));
	while (!rc && !k->nonce);
	return rc ? because(why, rc, "no random number is to be had: %s", strerror(-rc)) : premises_note_life(k->lock_fd, k->nonce, why);
}

static int make_config(int *ret, const struct config *config, char *why)
{
	struct segment s = SEGMENT_NONE;
	int rc = segment_create(&s, "configuration", align_up(sizeof(*config), 4096));

	if (rc)
		return because(why, rc, "no memory for the configuration: %s", strerror(-rc));
	memcpy(s.at, config, sizeof(*config));
	munmap(s.at, s.size);
	*ret = s.fd;
	return 0;
}

/* ---- sessions ---- */

static void drop(struct kept *s)
{
	fd_close(&s->rings);
	fd_close(&s->socket);
	for (unsigned i = 0; i < HANDOVER_PIDFDS; i++)
		fd_close(&s->pidfd[i]);
	s->used = s->welcomed = false;
}

static unsigned count_kept(const struct keeper *k)
{
	unsigned n = 0;

	for (unsigned i = 1; i <= SESSIONS_MAX; i++)
		n += k->kept[i].used;
	return n;
}

/* One message of the agent. Descriptors it does not take over are closed. */
static void heed(struct keeper *k, const struct handover *m, int *fds, unsigned n)
{
	struct kept *s = m->slot <= SESSIONS_MAX ? &k->kept[m->slot] : NULL;

	if (m->kind == HANDOVER_SERVES) {
		k->serves = true;
		if (!k->told_ready)
			sd_notify(0, "READY=1\nSTATUS=serving");
		else
			sd_notify(0, "STATUS=serving");
		k->told_ready = true;
		pulse_begin(&k->pulse, k->segment[TABLES], k->agent, k->config->host_lease_ms, sys_now_ns());
	} else if (!s || !m->slot) {
		log_line(LOG_ERR, "event=keeper.nonsense kind=%u slot=%u", m->kind, m->slot);
	} else if (m->kind == HANDOVER_KEEP && n == 3) {
		drop(s);
		s->used = true;
		s->rings = fds[0];
		s->pidfd[0] = fds[1];
		s->socket = fds[2];
		s->pid = m->pid;
		s->uid = m->uid;
		n = 0;
	} else if (m->kind == HANDOVER_WELCOMED) {
		s->welcomed = true;
	} else if (m->kind == HANDOVER_PIDFD && n <= 1 && s->used && m->place < HANDOVER_PIDFDS) {
		fd_close(&s->pidfd[m->place]);
		s->pidfd[m->place] = n ? fds[0] : -1;
		n = 0;
	} else if (m->kind == HANDOVER_MUTE) {
		fd_close(&s->socket);
	} else if (m->kind == HANDOVER_DROP) {
		drop(s);
	}
	while (n)
		close(fds[--n]);
}

/* Takes in all that the agent has said. */
static void listen_to_agent(struct keeper *k)
{
	struct handover m;
	int fds[HANDOVER_FDS_MAX];
	unsigned n;
	int rc;

	while ((rc = handover_receive(k->control, false, &m, fds, &n)) > 0)
		heed(k, &m, fds, n);
	if (rc != -EAGAIN && rc != 0)
		log_line(LOG_ERR, "event=keeper.control error=%s", log_quote(strerror(-rc)));
	if (rc != -EAGAIN)
		fd_close(&k->control); /* the end of the process decides */
}

static int hand_over_session(struct keeper *k, uint32_t slot)
{
	struct kept *s = &k->kept[slot];
	struct handover m = { .kind = HANDOVER_SESSION, .slot = slot, .welcomed = s->welcomed, .pid = s->pid, .uid = s->uid };
	int fds[HANDOVER_FDS_MAX];
	unsigned n = 0;

	fds[n++] = s->rings;
	for (unsigned i = 0; i < HANDOVER_PIDFDS; i++)
		if (s->pidfd[i] >= 0) {
			m.pidfds |= 1u << i;
			fds[n++] = s->pidfd[i];
		}
	if (s->socket >= 0) {
		m.has_socket = 1;
		fds[n++] = s->socket;
	}
	return handover_send(k->control, &m, fds, n);
}

static int hand_over(struct keeper *k)
{
	struct handover m = { .kind = HANDOVER_CONFIG };
	const int listen[] = { k->listen_fd, k->life_fd, k->tcp_fd };
	int rc = handover_send(k->control, &m, &k->config_fd, 1);

	m = (struct handover){ .kind = HANDOVER_MEMORY, .nonce = k->nonce, .heir_of = k->heir_of, .founding = k->founding };
	if (!rc)
		rc = handover_send(k->control, &m, k->segment, SEGMENTS);
	m = (struct handover){ .kind = HANDOVER_LISTEN };
	if (!rc)
		rc = handover_send(k->control, &m, listen, k->tcp_fd < 0 ? 2 : 3);
	for (uint32_t slot = 1; !rc && slot <= SESSIONS_MAX; slot++)
		if (k->kept[slot].used)
			rc = hand_over_session(k, slot);
	m = (struct handover){ .kind = HANDOVER_GO };
	return rc ? rc : handover_send(k->control, &m, NULL, 0);
}

/* ---- the agent's process ---- */

static _Noreturn void become_agent(struct keeper *k, int control, pid_t keeper)
{
	char *argv[] = { (char *)"paxshmd", (char *)"--agent", NULL };
	struct rlimit files;
	sigset_t none;

	/* With the keeper goes the agent, even one that is stopped. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(1);
	/* It runs out of descriptors first, so that the keeper can always take what it is given. */
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur > 4 * SPARE_FILES) {
		files.rlim_cur -= SPARE_FILES;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Ctrl-C at a terminal is meant for the keeper. */
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (control == HANDOVER_FD ? fcntl(control, F_SETFD, 0) : dup2(control, HANDOVER_FD) < 0)
		_exit(1);
	execv(k->exe, argv);
	log_line(LOG_ERR, "event=agent.start file=%s error=%s", log_quote(k->exe), log_quote(strerror(errno)));
	_exit(127);
}

/* Starts an agent and hands everything over. 0; or -errno: none runs, and none can be started. */
static int start_agent(struct keeper *k)
{
	const struct timeval patience = { .tv_sec = HANDOVER_SEND_S };
	pid_t self = getpid();
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	k->agent = fork();
	if (k->agent == 0)
		become_agent(k, pair[1], self);
	rc = -errno;
	close(pair[1]);
	if (k->agent < 0) {
		close(pair[0]);
		return rc;
	}
	k->agent_pidfd = (int)syscall(SYS_pidfd_open, k->agent, 0); /* a child that was not waited for: no other can have its pid */
	if (k->agent_pidfd < 0) {
		rc = -errno;
		kill(k->agent, SIGKILL);
		waitpid(k->agent, NULL, 0);
		close(pair[0]);
		return rc;
	}
	k->control = pair[0];
	k->serves = false;
	rc = hand_over(k);
	if (rc == -EAGAIN) {
		log_line(LOG_ERR, "event=agent.stuck pid=%d text=\"it does not take over: killed\"", (int)k->agent);
		kill(k->agent, SIGKILL);
	}
	return 0; /* if it died meanwhile, its pidfd says so */
}

/* Waits for the end of the agent's process. */
static siginfo_t reap_agent(struct keeper *k)
{
	siginfo_t end = { 0 };

	if (k->control >= 0)
		listen_to_agent(k); /* what it said before it died counts */
	while (waitid(P_PIDFD, (id_t)k->agent_pidfd, &end, WEXITED) && errno == EINTR)
		;
	fd_close(&k->control);
	fd_close(&k->agent_pidfd);
	pulse_end(&k->pulse);
	return end;
}

static void stop_agent(struct keeper *k, enum handover_kind how)
{
	struct handover m = { .kind = how };
	uint64_t until = sys_now_ns() + STOP_NS;

	if (k->agent_pidfd < 0)
		return;
	if (k->control >= 0)
		handover_send(k->control, &m, NULL, 0);
	/* Goes on listening: an agent that waits for room in the socket could not end. */
	for (;;) {
		struct pollfd p[] = { { .fd = k->agent_pidfd, .events = POLLIN }, { .fd = k->control, .events = POLLIN } };
		uint64_t now = sys_now_ns();

		if (now >= until)
			break;
		poll(p, 2, (int)((until - now) / NS_PER_MS) + 1);
		if (p[0].revents)
			break;
		if (p[1].revents)
			listen_to_agent(k);
	}
	kill(k->agent, SIGKILL); /* it is not waited for yet: the pid is still its own */
	reap_agent(k);
}

/* ---- lives ---- */

static void end_life(struct keeper *k)
{
	for (unsigned i = 1; i <= SESSIONS_MAX; i++)
		drop(&k->kept[i]);
	for (unsigned i = 0; i < SEGMENTS; i++)
		fd_close(&k->segment[i]);
	fd_close(&k->life_fd);
}

/* Five deaths within ten seconds: what the agent is given may be what it dies of. */
static bool too_many_deaths(struct keeper *k)
{
	uint64_t now = sys_now_ns();

	k->death_ns[k->deaths++ % DEATHS_MAX] = now;
	return k->deaths >= DEATHS_MAX && now - k->death_ns[k->deaths % DEATHS_MAX] < DEATHS_NS;
}

/* A new life after the memory was given up: -ECANCELED, or -errno and why. */
static int new_life(struct keeper *k, char *why)
{
	unsigned seconds = MIN(k->lives - 1, PAUSE_MAX_S);
	int rc;

	log_line(LOG_CRIT, "event=life.ended sessions=%u text=\"memory and sessions are dropped: this host begins anew, its programs' "
			   "locks are lost\"",
		 count_kept(k));
	end_life(k);
	for (unsigned i = 0; i < seconds && !k->stop; i++)
		pause_ms(k, 1000);
	k->founding = k->config->single;
	rc = begin_life(k, k->founding, why);
	if (!rc)
		rc = make_memory(k, why);
	k->deaths = 0;
	k->lives++;
	return rc;
}

/* The agent has ended: -1: go on; else the keeper's exit status. */
static int after_agent(struct keeper *k, char *why)
{
	siginfo_t end = reap_agent(k);
	bool exited = end.si_code == CLD_EXITED;
	int rc;

	if (exited && end.si_status == AGENT_EXIT_FATAL)
		return AGENT_EXIT_FATAL;
	if (exited)
		log_line(LOG_ERR, "event=agent.died pid=%d status=%d sessions=%u", (int)k->agent, end.si_status, count_kept(k));
	else
		log_line(LOG_ERR, "event=agent.died pid=%d signal=%s sessions=%u", (int)k->agent,
			 log_quote(strsignal(end.si_status)), count_kept(k));

	if (too_many_deaths(k) || (exited && end.si_status == AGENT_EXIT_MEMORY)) {
		rc = new_life(k, why);
		if (rc)
			return rc == -ECANCELED ? 0 : 1;
	}
	rc = start_agent(k);
	if (rc) {
		because(why, rc, "the agent cannot be started: %s", strerror(-rc));
		return 1;
	}
	return -1;
}

/* 0; -errno: no agent runs, and none can be started. */
static int reload(struct keeper *k, char *why)
{
	static struct config next; /* large */
	char wrong[CONFIG_WHY] = "";
	const char *fixed;
	int fd = -1, rc;

	k->hangup = false;
	if (k->reread(&next, k->reread_context, wrong)) {
		log_line(LOG_ERR, "event=config.refused text=%s", log_quote(wrong));
		return 0;
	}
	fixed = config_fixed(k->config, &next);
	if (fixed) {
		log_line(LOG_ERR, "event=config.refused text=\"%s cannot change while paxshmd runs: restart it, on every host if all must "
				  "agree on this; nothing was changed\"",
			 fixed);
		return 0;
	}
	if (make_config(&fd, &next, wrong)) { /* the agent that runs is worth more */
		log_line(LOG_ERR, "event=config.refused text=%s", log_quote(wrong));
		return 0;
	}
	stop_agent(k, HANDOVER_END);
	k->config_now = next;
	fd_close(&k->config_fd);
	k->config_fd = fd;
	rc = start_agent(k);
	if (rc)
		return because(why, rc, "the agent cannot be started: %s", strerror(-rc));
	log_line(LOG_NOTICE, "event=config.reloaded sessions=%u", count_kept(k));
	return 0;
}

static void feel_pulse(struct keeper *k)
{
	if (!pulse_hangs(&k->pulse, sys_now_ns()))
		return;
	log_line(LOG_CRIT, "event=agent.hung pid=%d text=\"it takes no step any more: killed\"", (int)k->agent);
	kill(k->agent, SIGKILL); /* it is not waited for yet: the pid is still its own */
}

static int serve(struct keeper *k, char *why)
{
	int status = -1;

	while (status < 0 && !k->stop) {
		struct pollfd p[] = { { .fd = k->signal_fd, .events = POLLIN },
				      { .fd = k->agent_pidfd, .events = POLLIN },
				      { .fd = k->control, .events = POLLIN } };

		poll(p, ARRAY_LEN(p), pulse_rest_ms(&k->pulse, sys_now_ns()));
		feel_pulse(k);
		if (p[0].revents)
			take_signals(k);
		if (p[2].revents)
			listen_to_agent(k);
		if (p[1].revents && !k->stop)
			status = after_agent(k, why);
		if (k->hangup && !k->stop && status < 0 && reload(k, why))
			status = 1;
	}
	return status < 0 ? 0 : status;
}

/* ---- beginning and end ---- */

static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static int watch_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Standard input, output and error must not be numbers that a socket of ours could get; and what was inherited
 * beside them would be held open for as long as the keeper runs. */
static void tidy_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0u, 0);
}

static int find_exe(struct keeper *k, char *why)
{
	ssize_t n = readlink("/proc/self/exe", k->exe, sizeof(k->exe) - 1);

	if (n < 0)
		return because(why, -errno, "/proc/self/exe cannot be read: %s; is /proc mounted?", strerror(errno));
	k->exe[n] = 0;
	return 0;
}

static int begin(struct keeper *k, bool bootstrap, char *why)
{
	const struct config *c = k->config;
	int founding = premises_may_found(c, bootstrap, why);
	int rc = founding < 0 ? founding : find_exe(k, why);

	if (!rc)
		rc = k->lock_fd = premises_lock(c->socket, &k->nonce, why);
	if (rc < 0)
		return rc;
	k->founding = founding > 0;
	/* The older life first: its last process may still have the port. */
	rc = begin_life(k, k->founding, why);
	if (!rc && !c->single)
		rc = k->tcp_fd = premises_listen_tcp(c, why);
	if (rc >= 0)
		rc = k->listen_fd = premises_listen(c->socket, why);
	if (rc >= 0)
		rc = make_config(&k->config_fd, k->config, why);
	if (!rc)
		rc = make_memory(k, why);
	/* Last of all, so that a start that fails can be tried again. */
	if (!rc && founding)
		rc = premises_mark_founded(c, why);
	k->lives = 1;
	return rc;
}

/* A voter that starts without memory and does not found the cluster has something to say. */
static void tell_founding(const struct keeper *k, bool bootstrap)
{
	const struct config *c = k->config;

	if (c->single || k->founding || c->hosts[c->self].role != HOST_VOTER) {
		if (k->founding && !c->single)
			log_line(LOG_NOTICE, "event=cluster.founding cluster=%s", log_quote(c->cluster));
	} else if (bootstrap) {
		log_line(LOG_WARNING,
			 "event=voter.memory_lost text=\"this voter took part before and has lost its memory (%s/founded): it follows, and "
			 "does not vote. While a majority of voters has its memory, nothing is to be done. When a majority has lost it: "
			 "stop paxshmd on all hosts, remove that file on each voter, and start all with --bootstrap\"",
			 c->state);
	} else {
		log_line(LOG_WARNING,
			 "event=voter.without_memory text=\"this voter starts without memory: it follows, and does not vote. "
			 "Only if the whole cluster starts for the first time: start its voters with --bootstrap\"");
	}
}

static void finish(struct keeper *k)
{
	struct stat st;

	stop_agent(k, HANDOVER_LEAVE);
	if (k->listen_fd >= 0 && !lstat(k->config->socket, &st) && S_ISSOCK(st.st_mode))
		unlink(k->config->socket); /* the lock file stays: removing it would race with the next keeper */
	end_life(k);
	fd_close(&k->listen_fd);
	fd_close(&k->tcp_fd);
	fd_close(&k->config_fd);
	fd_close(&k->signal_fd);
	fd_close(&k->lock_fd);
}

int keeper_run(const struct config *config, bool bootstrap, keeper_reread *reread, void *context)
{
	static struct keeper keeper; /* large, and one a process */
	struct keeper *k = &keeper;
	char why[CONFIG_WHY] = "";
	int rc, status = 1;

	memset(k, 0, sizeof(*k));
	k->config_now = *config;
	k->config = &k->config_now;
	k->reread = reread;
	k->reread_context = context;
	k->lock_fd = k->life_fd = k->listen_fd = k->tcp_fd = k->config_fd = k->control = k->agent_pidfd = -1;
	for (unsigned i = 0; i < SEGMENTS; i++)
		k->segment[i] = -1;
	for (unsigned i = 0; i <= SESSIONS_MAX; i++) {
		k->kept[i] = (struct kept){ .rings = -1, .socket = -1 };
		for (unsigned p = 0; p < HANDOVER_PIDFDS; p++)
			k->kept[i].pidfd[p] = -1;
	}
	log_begin("keeper");
	tidy_descriptors();
	raise_limits();
	k->signal_fd = watch_signals();

	rc = begin(k, bootstrap, why);
	if (rc >= 0) {
		tell_founding(k, bootstrap);
		rc = start_agent(k);
		if (rc)
			because(why, rc, "the agent cannot be started: %s", strerror(-rc));
		else
			status = serve(k, why);
	} else if (rc == -ECANCELED && k->stop) {
		status = 0;
	}
	if (why[0])
		log_line(LOG_ERR, "event=keeper.failed text=%s", log_quote(why));
	sd_notify(0, "STOPPING=1");
	finish(k);
	if (!status)
		log_line(LOG_NOTICE, "event=keeper.stopped");
	return status;
}
