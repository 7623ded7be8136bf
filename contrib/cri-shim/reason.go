// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Reason is vzfwd's stable word for a failure. See the tables in vzfwd(1) and vzfwd-protocol(7).
type Reason string

const (
	invalid     Reason = "invalid"
	unsupported Reason = "unsupported"
	internal    Reason = "internal"
	notFound    Reason = "not-found"
	refused     Reason = "refused"
	unreachable Reason = "unreachable"
	timeout     Reason = "timeout"
	denied      Reason = "denied"
	exhausted   Reason = "exhausted"
	notRunning  Reason = "not-running"
	broken      Reason = "broken"
)

// reasons says for each reason what a CRI caller is told, and with what exit code vzfwd ends. Exit code 69 is shared;
// the more careful of the two comes first.
var reasons = []struct {
	reason Reason
	code   codes.Code
	exit   int
	passes bool // the next connection of the same session may well succeed
}{
	{invalid, codes.InvalidArgument, 64, false},
	{notFound, codes.NotFound, 66, false},
	{unreachable, codes.Unavailable, 69, false},
	{refused, codes.Unavailable, 69, true},
	{internal, codes.Internal, 70, false},
	{exhausted, codes.ResourceExhausted, 73, true},
	{broken, codes.OK, 74, true},
	{timeout, codes.DeadlineExceeded, 75, true},
	{unsupported, codes.Unimplemented, 76, false},
	{denied, codes.PermissionDenied, 77, false},
	{notRunning, codes.FailedPrecondition, 78, false},
}

// A DialError is a failure that vzfwd, or the shim in its place, gives a reason for.
type DialError struct {
	Reason  Reason
	Message string
}

func failure(reason Reason, format string, args ...any) *DialError {
	return &DialError{reason, fmt.Sprintf(format, args...)}
}

func (e *DialError) Error() string { return e.Message }

// GRPCStatus makes gRPC answer with the code that belongs to the reason.
func (e *DialError) GRPCStatus() *status.Status {
	for _, r := range reasons {
		if r.reason == e.Reason {
			return status.New(r.code, e.Message)
		}
	}
	return status.New(codes.Internal, e.Message)
}

// reasonOfExit is for a vzfwd that ended without a word on why.
func reasonOfExit(code int) Reason {
	for _, r := range reasons {
		if r.exit == code {
			return r.reason
		}
	}
	return internal
}

// endsSession tells whether the error has to be told on the connection's error stream. kubectl ends its whole session on
// any text there, so that is for what another attempt in the same session would not cure.
func endsSession(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var failed *DialError
	if !errors.As(err, &failed) {
		return true
	}
	for _, r := range reasons {
		if r.reason == failed.Reason {
			return !r.passes
		}
	}
	return true
}
