// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What the contract says: the gRPC code of each reason, its exit code, and whether the session is told.
func TestReasons(t *testing.T) {
	for _, test := range []struct {
		reason Reason
		code   codes.Code
		exit   int
		ends   bool
	}{
		{"invalid", codes.InvalidArgument, 64, true},
		{"unsupported", codes.Unimplemented, 76, true},
		{"internal", codes.Internal, 70, true},
		{"not-found", codes.NotFound, 66, true},
		{"refused", codes.Unavailable, 0, false}, // 69 too, but that is read as the next
		{"unreachable", codes.Unavailable, 69, true},
		{"timeout", codes.DeadlineExceeded, 75, false},
		{"denied", codes.PermissionDenied, 77, true},
		{"exhausted", codes.ResourceExhausted, 73, false},
		{"not-running", codes.FailedPrecondition, 78, true},
		{"broken", codes.OK, 74, false},
		{"something new", codes.Internal, 0, true},
	} {
		err := error(failure(test.reason, "why"))
		if code := status.Code(err); code != test.code {
			t.Errorf("%s: code %s", test.reason, code)
		}
		if err.Error() != "why" {
			t.Errorf("%s: kubectl's users read %q", test.reason, err)
		}
		if test.exit != 0 && reasonOfExit(test.exit) != test.reason {
			t.Errorf("%s: exit code %d is %s", test.reason, test.exit, reasonOfExit(test.exit))
		}
		if ends := endsSession(fmt.Errorf("dialing: %w", err)); ends != test.ends {
			t.Errorf("%s: ends the session: %v", test.reason, ends)
		}
	}
	if reasonOfExit(-1) != internal || reasonOfExit(1) != internal {
		t.Error("a vzfwd that crashed is internal")
	}
	if endsSession(context.Canceled) || !endsSession(errors.New("a bug")) {
		t.Error("a client that has gone is not told, a bug is")
	}
}
