module ragmacs.helper

go 1.22
