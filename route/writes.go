package route

import "context"

// pin is what a session has written of late.
type pin struct {
	position string // that a replica must have reached; "" if nothing but the primary will do
}

type pinKey struct{ store string }

// pinOf returns what the session under ctx has written to a store, or nil.
func pinOf(ctx context.Context, store string) *pin {
	p, _ := ctx.Value(pinKey{store}).(*pin)
	return p
}
