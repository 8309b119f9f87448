;;; ragmacs-srv-collections-tests.el --- Collections are added, listed, updated, removed  -*- lexical-binding: t; -*-

;;; Code:

(require 'ragmacs-srv-test)
(require 'ragmacs-srv-collections)
(require 'dired)
(require 'info)

(defun ragmacs-srv-test-plan ()
  "Wait for the plan, and return its buffer's text."
  (with-current-buffer "*ragmacs plan*"
    (ragmacs-srv-test-wait (not (process-live-p ragmacs-srv-plan--process)))
    (ragmacs-srv-test-wait (not (string-prefix-p "Looking at" (buffer-string))))
    (buffer-substring-no-properties (point-min) (point-max))))

(defun ragmacs-srv-test-row (name)
  "Go to the row of NAME in the list of collections, and return it; nil where it has none."
  (goto-char (point-min))
  (let (found)
    (while (not (or (eobp) (setq found (and (equal (tabulated-list-get-id) name) (tabulated-list-get-entry)))))
      (forward-line))
    found))

(ert-deftest ragmacs-srv-a-folder-is-added-listed-updated-and-removed ()
  "All that a person does with a collection, with the keys they use."
  (let* ((folder (file-name-as-directory (make-temp-file "notes" t)))
         (words "umbrellas are kept in a stand by the door of the house where nobody looks for them on sunny days at all"))
    (write-region (concat "* Umbrellas\n" words "\n") nil (concat folder "umbrellas.org") nil 'silent)
    (with-current-buffer (dired-noselect folder)
      (goto-char (point-min))
      (should (equal (ragmacs-srv-collections--here) folder)))
    (ragmacs-srv-add folder)
    (should (string-search "1 document" (ragmacs-srv-test-plan)))
    (let ((name (file-name-nondirectory (directory-file-name folder))) text)
      (with-current-buffer "*ragmacs plan*"
        (should (equal ragmacs-srv-plan--names (list name)))
        (call-interactively (key-binding "y")))
      (ragmacs-srv-test-wait (assoc-default 'x ragmacs-srv--jobs #'always))
      (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests))
      (ragmacs-srv-collections)
      (with-current-buffer "*ragmacs collections*"
        (should (equal (aref (ragmacs-srv-test-wait (ragmacs-srv-test-row name)) 1) "1"))
        (ragmacs-srv-collections-pages)
        (setq text (format "*ragmacs pages: %s*" name))
        (with-current-buffer (ragmacs-srv-test-wait (get-buffer text))
          (ragmacs-srv-test-wait (string-suffix-p "umbrellas.org" (tabulated-list-get-id)))
          (call-interactively (key-binding "o"))
          (should (equal buffer-file-name (concat folder "umbrellas.org"))))
        (with-current-buffer text
          (call-interactively (key-binding "\r")))
        (should (string-search "sunny days" (ragmacs-srv-test-settled "*ragmacs: Umbrellas*")))
        (ragmacs-srv-test-row name)
        (should (string-search "1 unchanged" (car (ragmacs-srv-test-messages
                                                   (call-interactively (key-binding "u"))
                                                   (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests))))))
        (cl-letf (((symbol-function 'yes-or-no-p) #'always))
          (ragmacs-srv-test-row name)
          (call-interactively (key-binding "d")))
        (ragmacs-srv-test-wait (not (ragmacs-srv-test-row name)))))
    (delete-directory folder t)))

(ert-deftest ragmacs-srv-what-cannot-be-added-is-said-where-the-plan-would-be ()
  (ragmacs-srv-add "/no/such/folder")
  (should (string-search "there is no file or folder" (ragmacs-srv-test-plan)))
  (with-current-buffer "*ragmacs plan*"
    (should-error (ragmacs-srv-plan-agree) :type 'user-error))
  (ragmacs-srv-add "--yes")
  (should (string-search "there is no collection, file or address" (ragmacs-srv-test-plan))))

(ert-deftest ragmacs-srv-what-point-is-at-is-what-is-added ()
  (with-temp-buffer
    (delay-mode-hooks (Info-mode))
    (setq Info-current-file "/usr/share/info/elisp.info.gz")
    (should (equal (ragmacs-srv-collections--here) "info:elisp")))
  (should (equal (ragmacs-srv-collections--man "3 malloc") "man:malloc(3)"))
  (with-temp-buffer
    (insert "see https://go.dev/doc/ there")
    (goto-char 10)
    (should (equal (ragmacs-srv-collections--here) "https://go.dev/doc/")))
  (let ((ragmacs-srv-command '("py" "-m" "ragmacs_srv" "serve" "--stdio" "--home" "/h")))
    (should (equal (ragmacs-srv-collections--command '("add" "--" "x"))
                   '("py" "-m" "ragmacs_srv" "add" "--json" "--home" "/h" "--" "x")))))

;;; ragmacs-srv-collections-tests.el ends here
