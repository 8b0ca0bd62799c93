/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the measurements of exec execute. */
int main(void)
{
	return 0;
}
