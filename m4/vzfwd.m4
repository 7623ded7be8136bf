# SPDX-License-Identifier: MIT

# VZFWD_CFLAG(FLAG, VARIABLE): adds FLAG to VARIABLE if the compiler takes it. -Werror, since clang
# only warns about what it does not know or need.
AC_DEFUN([VZFWD_CFLAG], [
	AS_VAR_PUSHDEF([cache], [vzfwd_cv_cflag_$1])
	AC_CACHE_CHECK([whether $CC takes $1], [cache], [
		vzfwd_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS -Werror $1"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
		CFLAGS=$vzfwd_saved_cflags
	])
	AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$2], [" $1"])])
	AS_VAR_POPDEF([cache])
])

# VZFWD_LDFLAG(FLAG, VARIABLE): the same for a flag of the link.
AC_DEFUN([VZFWD_LDFLAG], [
	AS_VAR_PUSHDEF([cache], [vzfwd_cv_ldflag_$1])
	AC_CACHE_CHECK([whether $CC links with $1], [cache], [
		vzfwd_saved_ldflags=$LDFLAGS
		LDFLAGS="$LDFLAGS -Werror $1"
		AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
		LDFLAGS=$vzfwd_saved_ldflags
	])
	AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$2], [" $1"])])
	AS_VAR_POPDEF([cache])
])

# VZFWD_FEATURE(NAME, DESCRIPTION, MACRO, TEST): --disable-NAME; TEST sets vzfwd_have to yes or no and
# is only run when the feature was not turned off. Asked for but missing is an error. MACRO is
# defined when it is there, and the shell's have_NAME is yes or no.
AC_DEFUN([VZFWD_FEATURE], [
	AC_ARG_ENABLE([$1], [AS_HELP_STRING([--disable-$1], [do without $2])], [], [enable_$1=auto])
	vzfwd_have=no
	AS_IF([test "x$enable_$1" != xno], [$4])
	AS_IF([test "x$enable_$1$vzfwd_have" = xyesno], [AC_MSG_ERROR([$2 is not there; configure with --disable-$1])])
	AS_IF([test $vzfwd_have = yes], [AC_DEFINE([$3], [1], [Define to 1 to use $2.])])
	have_$1=$vzfwd_have
])
