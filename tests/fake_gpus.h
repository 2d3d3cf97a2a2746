/* Numbers of devices that fail in tests/fake_gpus.c. */
#ifndef CARNOT_TEST_FAKE_GPUS_H
#define CARNOT_TEST_FAKE_GPUS_H

enum { FAKE_ABSENT = 250, FAKE_REFUSES, FAKE_STALLS };

#endif
