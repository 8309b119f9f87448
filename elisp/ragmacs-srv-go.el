;;; ragmacs-srv-go.el --- How Go types lie in memory, and what fills them  -*- lexical-binding: t; -*-

;; Author: The ragmacs-srv maintainers
;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; In a buffer of Go the type is the one that point is in, as the buffer has
;; it, saved or not; anywhere else it is named.  What the server suggests is
;; shown as a change and put into that buffer; nothing here writes a file of Go.

;;; Code:

(require 'cl-lib)
(require 'diff)
(require 'map)
(require 'subr-x)
(require 'syntax)
(require 'url-util)
(require 'ragmacs-srv)

;;;; Which type

(defun ragmacs-srv-go--type (ask)
  "Return (PACKAGE TYPE PLACE) of the struct that point is in, or of what is read.
ASK in any case if ASK is non-nil.  PLACE is a marker in a buffer of Go, nil in
others; with an empty TYPE it is PLACE that says which."
  (let ((place (and (derived-mode-p 'go-mode 'go-ts-mode) (point-marker))))
    (if (and place (not ask) (ragmacs-srv-go--file) (ragmacs-srv-go--in-struct-p))
        (list "." "" place)
      (pcase-let ((`(,package . ,type) (and place (ragmacs-srv-go--named))))
        (list (read-string (format-prompt "Package" package) nil nil package)
              (read-string (format-prompt "Type" type) nil nil type)
              place)))))

(defun ragmacs-srv-go--file ()
  "Return the file of this buffer, unless it is on another machine."
  (and buffer-file-name (not (file-remote-p buffer-file-name)) buffer-file-name))

(defun ragmacs-srv-go--in-struct-p ()
  "Return non-nil if this line is part of the declaration of a struct."
  (save-excursion
    (beginning-of-line)
    (or (looking-at-p "[ \t]*\\(?:type[ \t]+\\)?[[:alpha:]_][[:alnum:]_]*.*\\_<struct[ \t]*{")
        (seq-some (lambda (open)
                    (goto-char open)
                    (looking-back "\\_<struct[ \t]*" (line-beginning-position)))
                  (nth 9 (syntax-ppss))))))

(defun ragmacs-srv-go--named ()
  "Return (PACKAGE . TYPE) as the words at point name it; TYPE may be nil."
  (save-excursion
    (skip-chars-backward "[:alnum:]_.")
    (if (looking-at "\\(?:\\([[:alpha:]_][[:alnum:]_]*\\)\\.\\)?\\([[:alpha:]_][[:alnum:]_]*\\)")
        (let ((qualifier (match-string-no-properties 1))
              (type (match-string-no-properties 2)))
          (cons (or (and qualifier (ragmacs-srv-go--imported qualifier)) ".") type))
      '("." . nil))))

(defun ragmacs-srv-go--imported (name)
  "Return the path of the import NAME of this file, or nil."
  (save-excursion
    (goto-char (point-min))
    (let ((case-fold-search nil))
      (when (re-search-forward (format "^\\(?:import\\)?[ \t]*\\(?:%s[ \t]+\"\\([^\"\n]+\\)\"\\|\"\\(\\(?:[^\"\n]*/\\)?%s\\)\"\\)"
                                       name name)
                               nil t)
        (or (match-string-no-properties 1) (match-string-no-properties 2))))))

(defun ragmacs-srv-go--call (tool package type place &rest more)
  "Return the parameters that call TOOL for TYPE of PACKAGE, with MORE arguments.
PLACE is as `ragmacs-srv-go--type' returns it."
  (list :name tool
        :arguments (append (list :package package :type type)
                           (and place (ragmacs-srv-go--where package type place))
                           more)))

(defun ragmacs-srv-go--where (package type place)
  "Return the arguments that say where PLACE is, as far as PACKAGE and TYPE do not.
The server may read the module that it is in from now on."
  (unless (marker-buffer place)
    (user-error "The buffer with that type is gone"))
  (with-current-buffer (marker-buffer place)
    (let ((file (ragmacs-srv-go--file)))
      (when file
        (ragmacs-srv-open-folder (ragmacs-srv-go-module (file-name-directory file))))
      (cond ((not (equal package "."))
             (and file (list :folder (expand-file-name (file-name-directory file)))))
            ((not file) (list :text (ragmacs-srv-go--text)))
            (t (append (list :file (expand-file-name file))
                       (and (buffer-modified-p) (list :text (ragmacs-srv-go--text)))
                       (and (string-empty-p type) (list :line (line-number-at-pos place t)))))))))

(defun ragmacs-srv-go--text ()
  "Return all of this buffer."
  (save-restriction
    (widen)
    (buffer-substring-no-properties (point-min) (point-max))))

(defun ragmacs-srv-go-module (folder)
  "Return the folder of the Go module that FOLDER is in, or FOLDER itself."
  (expand-file-name (or (locate-dominating-file folder "go.mod") folder)))

(defun ragmacs-srv-go--title (package type place)
  "Return a title for TYPE of PACKAGE, seen from PLACE."
  (cond ((not (string-empty-p type)) (if (equal package ".") type (format "%s.%s" package type)))
        (place (with-current-buffer (marker-buffer place)
                 (format "%s:%d" (buffer-name) (line-number-at-pos place t))))
        (t package)))

;;;; Layout

(defvar-local ragmacs-srv-go--layout nil
  "The layout in this buffer, as the server gave it.")

(defvar-local ragmacs-srv-go--source nil
  "The buffer of Go that the layout is of, and the tick that it had, as a cons.")

(defvar ragmacs-srv-go-layout-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map "o" #'ragmacs-srv-apply-order)
    (define-key map "S" #'ragmacs-srv-save-picture)
    map)
  "Keys in the layout of a type.")

(define-minor-mode ragmacs-srv-go-layout-mode
  "Keys for the layout of a type.

\\{ragmacs-srv-go-layout-mode-map}"
  :lighter nil)

;;;###autoload
(defun ragmacs-srv-struct-layout (package type &optional place)
  "Show how the fields of the Go TYPE of PACKAGE lie in memory.
In a struct in a buffer of Go that is the one, as the buffer has it; elsewhere,
and with a prefix argument, you are asked.  PACKAGE is an import path, or a path
below the folder of the buffer; PLACE is a marker in that."
  (interactive (ragmacs-srv-go--type current-prefix-arg))
  (let ((params (ragmacs-srv-go--call "struct_layout" package type place
                                      :picture (if (eq (frame-parameter nil 'background-mode) 'dark) "dark" "light")))
        (source (and place (ragmacs-srv-go--tick (marker-buffer place)))))
    (ragmacs-srv--show "*ragmacs layout*" (ragmacs-srv-go--title package type place) :tools/call params
                       (lambda (result) (ragmacs-srv-go--insert-layout result source)))
    (setq ragmacs-srv--again (lambda () (ragmacs-srv-struct-layout package type place)))))

(defun ragmacs-srv-go--tick (buffer)
  "Return BUFFER and what its tick is now."
  (cons buffer (buffer-chars-modified-tick buffer)))

(defun ragmacs-srv-go--insert-layout (result source)
  "Insert RESULT, a drawing where this Emacs can show one, and its text.
SOURCE is what `ragmacs-srv-go--tick' returned when it was asked for."
  (pcase-let (((map :text :data) result))
    (setq ragmacs-srv-go--layout data
          ragmacs-srv-go--source source)
    (when (plist-get data :svg)
      (ragmacs-srv-go-layout-mode)
      (setq ragmacs-srv--state (concat (if (and source (plist-get data :suggestion)) "o: the better order, " "")
                                       "S: save the picture, g: measure again"))
      (when (ragmacs-srv-go--pictures-p)
        (insert-image (create-image (plist-get data :svg) 'svg t) "[layout]")
        (insert "\n\n")))
    (let ((start (point)))
      (insert text "\n")
      (ragmacs-srv--buttonize start (seq-map-indexed (lambda (source n) (append (list :n (1+ n)) source))
                                                     (plist-get data :see))))))

(defun ragmacs-srv-go--pictures-p ()
  "Return non-nil where this Emacs can show a drawing."
  (and (display-images-p) (image-type-available-p 'svg)))

(defun ragmacs-srv-save-picture (file)
  "Write the drawing of the layout in this buffer into FILE, as SVG."
  (interactive (list (read-file-name "Save the picture as: " nil nil nil
                                     (concat (plist-get ragmacs-srv-go--layout :type) ".svg"))))
  (let ((svg (or (plist-get ragmacs-srv-go--layout :svg)
                 (user-error "There is no picture here")))
        (coding-system-for-write 'utf-8))
    (write-region svg nil file nil nil nil t)))

;;;; A better order

(defun ragmacs-srv-apply-order ()
  "Show the better order of fields in this buffer as a change, and make it.
The buffer of Go is changed, which one undo takes back; it is not saved."
  (interactive)
  (pcase-let* (((map :suggestion :unkeyed_literals) ragmacs-srv-go--layout)
               ((map :start_line :end_line :text) suggestion)
               (buffer (ragmacs-srv-go--suggested-buffer suggestion)))
    (when (ragmacs-srv-go--agreed-p (ragmacs-srv-go--change buffer start_line end_line text)
                                    unkeyed_literals)
      (with-current-buffer buffer
        (barf-if-buffer-read-only)
        (undo-boundary)
        (ragmacs-srv-go--replace-lines start_line end_line text))
      (display-buffer buffer)
      (message "The fields of %s are in order; the file is not saved" (plist-get ragmacs-srv-go--layout :type)))))

(defun ragmacs-srv-go--suggested-buffer (suggestion)
  "Return the buffer that SUGGESTION is for.
Signal a `user-error' where there is none, or it is not as it was measured."
  (unless suggestion
    (user-error "There is no better order to write down"))
  (pcase-let ((`(,source . ,_) ragmacs-srv-go--source)
              (file (plist-get suggestion :file)))
    (unless (buffer-live-p source)
      (user-error "Only a type of your own, asked for in its buffer, is changed"))
    (let* ((module (buffer-local-value 'default-directory source))
           (buffer (if (file-in-directory-p file (ragmacs-srv-go-module module))
                       (find-file-noselect file)
                     (user-error "%s is not in this module" file))))
      (when (if (eq buffer source)
                (not (equal (ragmacs-srv-go--tick source) ragmacs-srv-go--source))
              (buffer-modified-p buffer))
        (user-error "%s is not as it was measured; %s" (buffer-name buffer)
                    (if (eq buffer source) "g measures again" "save it, and measure again")))
      buffer)))

(defun ragmacs-srv-go--replace-lines (start end text)
  "Replace the lines from START to END, counted from 1, by TEXT.
Point stays in what stays."
  (save-restriction
    (widen)
    (save-excursion
      (goto-char (point-min))
      (let* ((from (line-beginning-position start))
             (to (line-end-position end)))
        (replace-region-contents from to (lambda () text))))))

(defun ragmacs-srv-go--change (buffer start end text)
  "Return a buffer with the change of the lines START to END of BUFFER to TEXT."
  (let* ((whole (with-current-buffer buffer (ragmacs-srv-go--text)))
         (old (make-temp-file "ragmacs-old" nil ".go" whole))
         (new (make-temp-file "ragmacs-new" nil ".go"
                              (with-temp-buffer
                                (insert whole)
                                (ragmacs-srv-go--replace-lines start end text)
                                (buffer-string)))))
    (with-current-buffer (get-buffer-create "*ragmacs order*")
      (let ((inhibit-read-only t))
        (erase-buffer)
        (call-process diff-command nil t nil "-u" "--label" (buffer-name buffer) "--label" "in the better order" old new))
      (delete-file old)
      (delete-file new)
      (diff-mode)
      (setq buffer-read-only t)
      (current-buffer))))

(defun ragmacs-srv-go--agreed-p (change unkeyed)
  "Show the buffer CHANGE, and return non-nil if the user wants it.
UNKEYED are the places that the change breaks."
  (save-window-excursion
    (pop-to-buffer change)
    (goto-char (point-min))
    (unwind-protect
        (y-or-n-p (if (seq-empty-p unkeyed)
                      "Make this change? "
                    (format "Make this change, although it breaks values without field names in %s? "
                            (mapconcat #'file-name-nondirectory unkeyed ", "))))
      (kill-buffer change))))

;;;; Filling

;;;###autoload
(defun ragmacs-srv-go-fill-type (package type &optional place)
  "Insert below point a function that fills the Go TYPE of PACKAGE.
The type is found as `ragmacs-srv-struct-layout' finds it, also by PLACE.  In a
buffer of Go the function stands behind the declaration that point is in, and
above it a comment with the imports that it needs and the file lacks."
  (interactive (ragmacs-srv-go--type current-prefix-arg))
  (let ((params (ragmacs-srv-go--call "go_fill_type" package type place)))
    (save-excursion
      (when place
        (ragmacs-srv-go--go-behind))
      (ragmacs-srv--insert-here :tools/call params
                                (lambda (result _org) (ragmacs-srv-go--filler result (and place t)))))))

(defun ragmacs-srv-go--go-behind ()
  "Go to the end of the last line of what is declared at point."
  (end-of-line)
  (when-let ((outermost (car (nth 9 (syntax-ppss)))))
    (goto-char outermost)
    (ignore-errors (forward-list))      ; still open at the end of the buffer
    (end-of-line)))

(defun ragmacs-srv-go--filler (result go)
  "Return the code in RESULT below what it needs that this buffer lacks.
GO is non-nil in a buffer of Go."
  (pcase-let (((map :text :data) result))
    (if (not (stringp (plist-get data :code)))
        text
      (let* ((missing (seq-remove (lambda (import) (and go (ragmacs-srv-go--imports-p import)))
                                  (plist-get data :imports)))
             (notes (delq nil (list (and missing (concat "needs " (string-join missing ", ")))
                                    (and (eq (plist-get data :test) t) "for a test file")))))
        (concat (and go "\n\n")
                (and notes (format "// %s\n\n" (string-join notes "; ")))
                (string-trim-right (plist-get data :code))
                (and (not go) "\n"))))))

(defun ragmacs-srv-go--imports-p (import)
  "Return non-nil if the file in this buffer has IMPORT, written as in Go."
  (save-excursion
    (goto-char (point-min))
    (re-search-forward (concat "^\\(?:import\\)?[ \t]*" (regexp-quote import)) nil t)))

;;;; Where documentation was written

;;;###autoload
(defun ragmacs-srv-go-source (link)
  "Show where what is documented at LINK was written, in the source of Go.
LINK is that of the section that point is in, or of the source at point."
  (interactive (list (ragmacs-srv-go--documented)))
  (ragmacs-srv-request :fetch (list :url (car (split-string link "#")) :stored t)
                       :success (lambda (page) (ragmacs-srv-go--visit-source page link))))

(defun ragmacs-srv-go--documented ()
  "Return the link of the documentation that point is in, or what is read."
  (let ((link (plist-get (or (ragmacs-srv--source)
                             (save-excursion
                               (when-let ((above (text-property-search-backward 'ragmacs-srv-source)))
                                 (prop-match-value above))))
                         :link)))
    (if (and link (string-prefix-p "godoc:" link))
        link
      (read-string (format-prompt "Source of" "godoc:") "godoc:"))))

(defun ragmacs-srv-go--visit-source (page link)
  "Show the file in which the section of PAGE at LINK was written, at its line."
  (pcase-let ((`(,file . ,line) (ragmacs-srv-go--place page link))
              (path (string-remove-prefix "godoc:" (plist-get page :url))))
    (if (file-name-absolute-p path)     ; the folder of the package
        (ragmacs-srv-go--visit (expand-file-name (file-name-nondirectory file)
                                                 (decode-coding-string (url-unhex-string path) 'utf-8))
                               line)
      (ragmacs-srv-request
       :tools/call (list :name "go_doc" :arguments (list :name path))
       :success (lambda (result)
                  (pcase-let (((map :goroot :go_version) (plist-get result :data)))
                    (if (not goroot)
                        (message "%s" (plist-get result :text))
                      (ragmacs-srv-go--visit (expand-file-name (concat "src/" file) goroot) line)
                      (unless (string-search (format "(%s)" go_version) (plist-get page :title))
                        (message "This file is of %s; ragmacs update reads its documentation" go_version)))))))))

(defun ragmacs-srv-go--visit (file line)
  "Show FILE at LINE in another window."
  (find-file-read-only-other-window file)
  (goto-char (point-min))
  (forward-line (1- line)))

(defun ragmacs-srv-go--place (page link)
  "Return (FILE . LINE), where the section of PAGE at LINK was written.
FILE is relative to the source of Go, or absolute."
  (let* ((section (seq-find (lambda (each) (equal link (plist-get each :link))) (plist-get page :sections)))
         (text (or (plist-get section :text) "")))
    (if (string-match "^Source: \\(.+\\):\\([0-9]+\\)\\'" text)
        (cons (match-string 1 text) (string-to-number (match-string 2 text)))
      (user-error "Where %s was written is not known" link))))

(provide 'ragmacs-srv-go)
;;; ragmacs-srv-go.el ends here
