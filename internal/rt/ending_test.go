package rt_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rt"
)

func TestHalfClosingIsNotPromisedInVain(t *testing.T) {
	resp := &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: &connection{body: newBody("", io.EOF)}}
	rt.OnBodyEnd(resp, nil, &told{})
	assert.NotImplements(t, (*interface{ CloseWrite() error })(nil), resp.Body)
}

// slowToClose returns from Close when the Read that it ended has returned, as net/http may.
type slowToClose struct {
	*body

	readOver chan struct{}
}

func (s *slowToClose) Close() error {
	err := s.body.Close()
	<-s.readOver
	return err
}

func TestReadThatFailsBecauseOfCloseIsNoFailure(t *testing.T) {
	bubble(t, "closed while reading", func(t *testing.T) {
		hook, b := &told{}, &slowToClose{newBody("", nil), make(chan struct{})}
		resp := chunked(b)
		rt.OnBodyEnd(resp, nil, hook)
		go func() {
			defer close(b.readOver)
			_, _ = resp.Body.Read(make([]byte, 1))
		}()
		time.Sleep(time.Second) // let it read
		_ = resp.Body.Close()
		assert.Equal(t, []error{nil}, hook.all())
	})
}

// Readers compare with ==, so that a wrapped io.EOF fails them.
func TestWrappedEOFIsABrokenBody(t *testing.T) {
	end := fmt.Errorf("decode: %w", io.EOF)
	hook, resp := &told{}, chunked(newBody("overload", end))
	rt.OnBodyEnd(resp, nil, hook)
	_, err := io.ReadAll(resp.Body)
	require.Error(t, err)
	assert.Equal(t, []error{end}, hook.all())
}

// Somebody between two policies of ours may read or close the body and hand it on all the same.
func TestHookOnABodyThatHasEndedIsToldAtOnce(t *testing.T) {
	for name, end := range map[string]error{"well": io.EOF, "badly": errReset} {
		t.Run(name, func(t *testing.T) {
			inner, outer := &told{}, &told{}
			resp := chunked(newBody("overload", end))
			rt.OnBodyEnd(resp, nil, inner)
			_, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			rt.OnBodyEnd(resp, nil, outer)
			assert.Equal(t, []error{err}, outer.all())
			assert.Equal(t, inner.all(), outer.all())
		})
	}
}

func TestHooksAreAddedWhileTheBodyEnds(t *testing.T) {
	for range 100 {
		resp := chunked(newBody("overload", io.EOF))
		rt.OnBodyEnd(resp, nil, &told{})
		body := resp.Body
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.ReadAll(body)
		}()
		outer := &told{}
		rt.OnBodyEnd(resp, nil, outer)
		<-read
		assert.Len(t, outer.all(), 1)
	}
}
