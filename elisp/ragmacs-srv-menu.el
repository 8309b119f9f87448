;;; ragmacs-srv-menu.el --- All commands of ragmacs-srv in one menu  -*- lexical-binding: t; -*-

;; Author: The ragmacs-srv maintainers
;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; The transient menu `ragmacs-srv-menu'.  Nothing else of ours loads transient.

;;; Code:

(require 'ragmacs-srv)
(require 'transient)

;;;###autoload (autoload 'ragmacs-srv-menu "ragmacs-srv-menu" nil t)
(transient-define-prefix ragmacs-srv-menu ()
  "Ask, summarize and index documentation; measure Go types."
  [["Documentation"
    ("a" "Ask" ragmacs-srv-ask)
    ("s" "Search" ragmacs-srv-search)
    ("v" "Read a page" ragmacs-srv-read)
    ("o" "Open a link at its place" ragmacs-srv-open)
    ("u" "Summarize an address" ragmacs-srv-summarize-url)
    ("l" "Summarize a reading list" ragmacs-srv-summarize-list)
    ("c" "Add a page to gptel's context" ragmacs-srv-add-page-to-context)
    ("g" "Give gptel tools and presets" ragmacs-srv-gptel-setup)]
   ["Go"
    ("t" "Layout of a type" ragmacs-srv-struct-layout)
    ("f" "Function that fills a type" ragmacs-srv-go-fill-type)]
   ["Collections"
    ("+" "Add what is here, or an address" ragmacs-srv-add)
    ("C" "List them" ragmacs-srv-collections)
    ("U" "Update" ragmacs-srv-update)
    ("i" "Index" ragmacs-srv-index-build)]
   ["Server"
    ("k" "Cancel" ragmacs-srv-cancel)
    ("?" "Status" ragmacs-srv-status)
    ("r" "Restart" ragmacs-srv-restart)
    ("L" "Log" ragmacs-srv-log)]])

(provide 'ragmacs-srv-menu)
;;; ragmacs-srv-menu.el ends here
