package storetest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/failsoft/failsoft/stale"
)

// difference names the first exported field in which got is not like want. A nil
// map or slice is like an empty one, and a time like the same moment elsewhere:
// encodings rarely tell them apart, and the Cache does not either.
func difference(want, got *stale.Entry) string {
	w, g := reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()
	for i := range w.NumField() {
		if field := w.Type().Field(i); field.IsExported() && !alike(w.Field(i), g.Field(i)) {
			return fmt.Sprintf("%s is not what was stored: %s instead of %s",
				field.Name, cut(g.Field(i)), cut(w.Field(i)))
		}
	}
	return ""
}

func cut(v reflect.Value) string {
	const enough = 120
	text := fmt.Sprintf("%v", v.Interface())
	if len(text) <= enough {
		return text
	}
	return fmt.Sprintf("%s... (%d)", text[:enough], len(text))
}

func alike(a, b reflect.Value) bool {
	if at, ok := reflect.TypeAssert[time.Time](a); ok {
		bt, ok := reflect.TypeAssert[time.Time](b)
		return ok && at.Equal(bt)
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return alike(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !alike(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		return alikeSlices(a, b)
	case reflect.Map:
		return alikeMaps(a, b)
	default:
		return a.Equal(b)
	}
}

func alikeSlices(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	if text, ok := reflect.TypeAssert[[]byte](a); ok {
		return string(text) == string(b.Bytes())
	}
	for i := range a.Len() {
		if !alike(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

func alikeMaps(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	for _, key := range a.MapKeys() {
		if other := b.MapIndex(key); !other.IsValid() || !alike(a.MapIndex(key), other) {
			return false
		}
	}
	return true
}
