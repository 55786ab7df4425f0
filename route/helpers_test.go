package route_test

import (
	"testing"
	"testing/synctest"
)

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
