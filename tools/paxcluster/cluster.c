/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cluster.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net.h"

static int say(int rc, const char *what, const char *name)
{
	fprintf(stderr, "paxcluster: %s %s: %s\n", what, name, strerror(-rc));
	return rc;
}

const char *cluster_path(const struct cluster *c, unsigned n, const char *name)
{
	static char paths[4][CLUSTER_PATH + 64];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	if (n)
		snprintf(path, sizeof(paths[0]), "%s/%u/%s", c->dir, n, name);
	else
		snprintf(path, sizeof(paths[0]), "%s/%s", c->dir, name);
	return path;
}

/* ---- making ---- */

/* "key=value" as the configuration writes it. Quotes do no harm to numbers. */
static void write_setting(FILE *file, const char *setting)
{
	const char *equals = strchr(setting, '=');
	bool quoted = equals[1] == '"';

	fprintf(file, "%.*s = %s%s%s\n", (int)(equals - setting), setting, quoted ? "" : "\"", equals + 1, quoted ? "" : "\"");
}

static bool is_set(const char *const *settings, unsigned n, const char *key)
{
	for (unsigned i = 0; i < n; i++)
		if (strncmp(settings[i], key, strlen(key)) == 0 && settings[i][strlen(key)] == '=')
			return true;
	return false;
}

static int write_configuration(const struct cluster *c, const uint16_t *ports, const char *const *settings, unsigned n)
{
	FILE *file = fopen(cluster_path(c, 0, "cluster.conf"), "we");

	if (!file)
		return -errno;
	if (!is_set(settings, n, "cluster"))
		fprintf(file, "cluster = \"%s\"\n", c->tag);
	if (!is_set(settings, n, "locks"))
		fprintf(file, "locks = 4096\n");
	for (unsigned i = 0; i < n; i++)
		write_setting(file, settings[i]);
	if (c->netns)
		fprintf(file, "insecure = yes # these links leave no namespace of ours\n");
	for (unsigned i = 1; i <= cluster_size(c); i++) {
		fprintf(file, "host \"host%u\" { id = %u  address = \"", i, i);
		if (c->netns)
			fprintf(file, "10.77.0.%u:%u", i, NETNS_PORT);
		else
			fprintf(file, "127.0.0.1:%u", ports[i - 1]);
		fprintf(file, "\"  role = \"%s\" }\n", i <= c->voters ? "voter" : "observer");
	}
	return fclose(file) ? -errno : 0;
}

static int save(const struct cluster *c)
{
	FILE *file = fopen(cluster_path(c, 0, "paxcluster"), "we");

	if (!file)
		return -errno;
	fprintf(file, "%s %u %u %d\n", c->tag, c->voters, c->observers, c->netns);
	return fclose(file) ? -errno : 0;
}

/* The folder, empty, and its name made absolute. */
static int make_folder(struct cluster *c)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX];

	if (!c->dir[0]) {
		snprintf(c->dir, sizeof(c->dir), "%s/paxcluster-XXXXXX", tmp && *tmp ? tmp : "/tmp");
		if (!mkdtemp(c->dir))
			return say(-errno, "cannot make", c->dir);
	} else if (mkdir(c->dir, 0700) < 0 && (errno != EEXIST || rmdir(c->dir) < 0 || mkdir(c->dir, 0700) < 0)) {
		return say(-errno, "must be new or empty:", c->dir);
	}
	if (!realpath(c->dir, path) || strlen(path) >= sizeof(c->dir))
		return say(-ENAMETOOLONG, "too long:", c->dir);
	strcpy(c->dir, path);
	return 0;
}

int cluster_make(struct cluster *c, const char *const *settings, unsigned n_settings)
{
	uint16_t ports[CLUSTER_HOSTS] = { 0 };
	uint32_t random;
	int rc = make_folder(c);

	if (rc < 0)
		return rc;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		rc = say(-errno, "no random", "number");
	snprintf(c->tag, sizeof(c->tag), "paxcluster-%08x", random);
	for (unsigned i = 1; rc == 0 && i <= cluster_size(c); i++) {
		if (mkdir(cluster_path(c, i, ""), 0700) < 0 || mkdir(cluster_path(c, i, "state"), 0700) < 0)
			rc = say(-errno, "cannot make", cluster_path(c, i, "state"));
	}
	if (rc == 0 && c->netns && !netns_make(c->tag, cluster_size(c)))
		rc = say(-EPERM, "cannot make network namespaces", "(needs root and iproute2)");
	if (rc == 0 && !c->netns && !net_free_ports(ports, cluster_size(c)))
		rc = say(-EADDRINUSE, "no free", "ports");
	if (rc == 0)
		rc = write_configuration(c, ports, settings, n_settings);
	if (rc == 0)
		rc = save(c);
	if (rc < 0)
		cluster_remove(c);
	return rc;
}

int cluster_load(struct cluster *c, const char *dir)
{
	char path[PATH_MAX];
	int netns, rc = 0;

	*c = (struct cluster){ 0 };
	if (!realpath(dir, path))
		return say(-errno, "no cluster at", dir);
	if (strlen(path) >= sizeof(c->dir))
		return say(-ENAMETOOLONG, "no cluster at", dir);
	strcpy(c->dir, path);
	FILE *file = fopen(cluster_path(c, 0, "paxcluster"), "re");
	if (!file || fscanf(file, "%31s %u %u %d", c->tag, &c->voters, &c->observers, &netns) != 4 ||
	    c->voters > CLUSTER_HOSTS || c->observers > CLUSTER_HOSTS || cluster_size(c) > CLUSTER_HOSTS)
		rc = say(-ENOENT, "no cluster at", dir);
	else
		c->netns = netns;
	if (file)
		fclose(file);
	return rc;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

void cluster_remove(const struct cluster *c)
{
	if (c->netns)
		netns_remove(c->tag, cluster_size(c));
	nftw(c->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
