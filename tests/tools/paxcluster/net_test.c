/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../tools/paxcluster/net.h"

Test(net, free_ports_differ_and_can_be_listened_on)
{
	uint16_t ports[32];

	cr_assert(net_free_ports(ports, 32));
	for (int i = 0; i < 32; i++) {
		struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(ports[i]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		cr_assert_lt(ports[i], 32768, "the kernel gives those to connections");
		cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0); /* also fails when one comes twice */
		cr_assert_eq(listen(fd, 1), 0);
	}
}
