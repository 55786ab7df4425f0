package main

import (
	"context"
	"errors"
	"io"
)

var (
	// errInterrupted is what the drill ends with if it was not let finish.
	errInterrupted = errors.New("interrupted: no verdict")

	// errBusy joins a verdict against failsoft that may be the machine's fault.
	errBusy = errors.New("this machine was too busy to be sure")
)

// drill runs the script once, then the flash crowd, and reports.
func drill(ctx context.Context, s script, perPhase int, plain bool, out io.Writer) error {
	first := outages(s, perPhase)
	if err := first.play(ctx, plain, out); err != nil {
		return err
	}
	second := newFlash(s.seed)
	if ctx.Err() == nil {
		if err := second.act().play(ctx, plain, out); err != nil {
			return err
		}
	}
	rush := second.rush()
	if err := report(out, s, first.record, rush); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	rows := first.record.rows(s)
	err := errors.Join(judge(rows), first.record.stall(s).judge(), first.record.darkness(s).judge(), rush.judge())
	if err != nil && (delayed(first.record, second.pages, second.ads) || overdue(rows)) {
		err = errors.Join(err, errBusy)
	}
	return err
}

// delayed reports whether visitors left so late that the times mean little.
func delayed(records ...*record) bool {
	for _, r := range records {
		if by, _ := r.latest(); by > tooLate {
			return true
		}
	}
	return false
}
